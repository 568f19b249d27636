"""Make the parts of the documentation that follow from the code: ``python docs/_make.py``.

The parts are ``suite-reference.md`` from the schema of suites, and the table of layers and the picture of
``architecture.md``.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

from provenance.suite.schema import json_schema

DOCS = Path(__file__).parent
PACKAGE = DOCS.parent / "provenance"
HEAD = """\
# Every key of a suite

Made from the [JSON Schema](https://json-schema.org) that `provenance schema` prints, by
`python docs/_make.py`. What keys mean together, with examples: [Suites](suites.md).
"""
PARTS = {
    "SuiteDocument": "At the top",
    "InputsDocument": "inputs",
    "DefaultsDocument": "defaults",
    "ModelDocument": "models: each",
    "LayoutDocument": "layout: of a model",
    "MLPDocument": "layout: shared, experts",
    "PairDocument": "pairs: each",
    "NearestDocument": "expect: the nearest kin",
    "SharesDocument": "expect: shares of a merge",
    "ShareDocument": "blocks: a share",
}

ABOUT = {
    "inputs": "What the models are fed; see [inputs](#inputs).",
    "defaults": "What holds for every pair that does not say otherwise; see [defaults](#defaults).",
}
"""Rows of parts that the schema describes at the part itself."""

FLOW = """\
digraph {
  rankdir=LR; bgcolor="transparent"; nodesep=0.3; ranksep=0.45;
  node [shape=box, style="rounded", fontname="sans-serif", fontsize=12];
  node [color="#5c6f7b", fontcolor="#4a7fa5"];
  edge [color="#5c6f7b", arrowsize=0.7, fontname="sans-serif", fontsize=10, fontcolor="#5c6f7b"];
  suite [label="suite.yaml"]; claims [label="claims"]; plan [label="comparisons"];
  spec [label="model"]; checkpoint [label="verified files,\\ndigests"]; activations [label="activations"];
  matching [label="matchings,\\np-values"]; evidence [label="evidence"]; verdict [label="verdicts"];
  results [label="results"]; out [label="tests, report,\\nattestation, lock"];
  store [label="store", shape=cylinder];
  suite -> claims -> plan -> matching; spec -> checkpoint -> activations [label="run once"];
  activations -> matching -> evidence -> verdict -> results -> out;
  claims -> verdict; checkpoint -> store; activations -> store; evidence -> store;
}
"""


def main() -> None:
    """Write the files."""
    (DOCS / "suite-reference.md").write_text(suite_reference(), encoding="utf-8")
    page = DOCS / "architecture.md"
    page.write_text(with_layers(page.read_text("utf-8")), encoding="utf-8")
    (DOCS / "dataflow.svg").write_text(picture(), encoding="utf-8")


def picture() -> str:
    """Return the picture of the flow of data, drawn by graphviz."""
    command = ["dot", "-Tsvg"]
    drawn = subprocess.run(command, input=FLOW, text=True, capture_output=True, check=True).stdout  # noqa: S603
    return re.sub(r"(?s)^.*?(?=<svg)|<!--.*?-->\n?", "", drawn)


def suite_reference() -> str:
    """Return the page of all keys."""
    schema = json_schema()
    parts = {"SuiteDocument": schema, **schema["$defs"]}
    left = set(parts) - set(PARTS) - {"Tree"}  # a tree's keys are names
    if left:
        raise ValueError(f"say under which title {sorted(left)} stand")
    return HEAD + "".join(_section(title, parts[name]) for name, title in PARTS.items())


def _section(title: str, part: dict[str, Any]) -> str:
    required = part.get("required", ())
    rows = [
        f"| `{key}` | {_kind(value)} | {_default(value, required=key in required)} | "
        f"{_cell(value.get('description') or ABOUT[key])} |\n"
        for key, value in part["properties"].items()
    ]
    about = _cell(part.get("description", ""))
    head = f"\n## {title}\n\n{about}\n\n| key | value | default | meaning |\n| --- | --- | --- | --- |\n"
    return head + "".join(rows)


def _kind(value: dict[str, Any]) -> str:
    if "$ref" in value:
        name = str(value["$ref"]).rpartition("/")[2]
        return "mapping of names to the same" if name == "Tree" else "mapping"
    for key in ("oneOf", "anyOf"):
        if key in value:
            return " or ".join(dict.fromkeys(_kind(each) for each in value[key]))
    if "enum" in value or "const" in value:
        return ", ".join(f"`{each}`" for each in value.get("enum", [value.get("const")]))
    kinds = value.get("type", "anything")
    if isinstance(value.get("additionalProperties"), dict):
        return f"mapping of names to {_kind(value['additionalProperties'])}"
    if "patternProperties" in value:
        kinds = "mapping of names to mappings"
    kind = "text" if isinstance(kinds, list) else {"string": "text"}.get(kinds, kinds)
    if kind == "array":
        return f"list: {_kind(value['items'])}"
    return f"{kind}{_limits(value)}"


def _limits(value: dict[str, Any]) -> str:
    words = {
        "minimum": "from",
        "exclusiveMinimum": "above",
        "maximum": "to",
        "exclusiveMaximum": "below",
    }
    said = [f"{word} {value[key]}" for key, word in words.items() if key in value]
    return " " + " ".join(said) if said else ""


def _default(value: dict[str, Any], *, required: bool) -> str:
    if required:
        return "required"
    default = value.get("default")
    return "" if default is None or default in ({}, []) else f"`{str(default).lower()}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def with_layers(page: str) -> str:
    """Return the page with the table of layers as import-linter has it, lowest first."""
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text("utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = next(each["layers"] for each in contracts if each["id"] == "layers")
    rows: list[str] = []
    for layer in reversed(layers):
        names = [name.strip("( )") for name in layer.split("|")]
        missing = [name for name in names if not any((PACKAGE / name).parent.glob(f"{name}*"))]
        if missing:
            raise ValueError(f"pyproject.toml has layers that are no modules: {missing}")
        public = [f"`{name}`" for name in names if not name.startswith("_")]
        if public:
            rows.append(f"| {len(rows)} | {', '.join(public)} |\n")
    head, mark, _ = page.partition("| level | folders and files |\n| --- | --- |\n")
    return head + mark + "".join(rows)


if __name__ == "__main__":
    main()
