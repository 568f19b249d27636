"""What is public, what is light to import, and which way imports go."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import provenance

PACKAGE = Path(provenance.__file__).parent

LEVELS = {
    "errors": 0,
    "vocabulary": 0,
    "assignment": 0,
    "corpus": 0,
    "evidence": 0,
    "pvalues": 0,
    "store": 0,
    "units": 0,
    "devices": 1,
    "inputs": 1,
    "sources": 1,
    "structure": 1,
    "suite": 1,
    "architecture": 2,
    "drafting": 2,
    "capture": 2,
    "functions": 2,
    "loading": 2,
    "permtest": 2,
    "recipes": 2,
    "tracing": 2,
    "transforms": 2,
    "verification": 2,
    "weights": 2,
    "conversions": 3,
    "naming": 3,
    "statistics": 3,
    "blocks": 4,
    "controls": 4,
    "pairs": 4,
    "plan": 4,
    "verdict": 4,
    "acquire": 5,
    "doctor": 5,
    "execute": 5,
    "live": 5,
    "measure": 5,
    "proxies": 5,
    "fingerprints": 5,
    "results": 6,
    "fingerprinting": 6,
    "cluster": 6,
    "attest": 7,
    "gate": 7,
    "audit": 7,
    "lineage": 7,
    "reading": 7,
    "report": 8,
    "plugin": 9,
    "cli": 9,
}
"""The design's table: a module imports from lower levels, and from its own as said below."""

PRIVATE = {
    "_assemble": "execute",
    "_bundle": "sources",
    "_candidates": "assignment",
    "_captures": "execute",
    "_cards": "sources",
    "_dataflow": "tracing",
    "_distant": "store",
    "_documents": "evidence",
    "_drafts": "tracing",
    "_entries": "store",
    "_notes": "store",
    "_objects": "store",
    "_forms": "sources",
    "_home": "errors",  # likewise
    "_hub": "sources",
    "_lineage": "suite",
    "_lineage_formats": "lineage",
    "_measured": "execute",
    "_mlps": "tracing",
    "_origins": "naming",
    "_paired": "permtest",
    "_parse": "sources",
    "_partners": "blocks",
    "_per_model": "execute",
    "_registry_schema": "suite",
    "_quiet": "errors",  # serves several: a leaf, it imports nothing of ours
    "_shelf": "store",
    "_signals": "tracing",
    "_similarity": "assignment",
    "_sparse_assignment": "assignment",
    "_streaming": "loading",
    "_student": "pvalues",
    "_suite_problems": "suite",
    "_suite_rules": "suite",
    "_suite_schema": "suite",
    "_tensors": "sources",
    "_urls": "sources",
    "_valueless": "tracing",
    "_visible": "errors",  # serves several: a leaf, it imports nothing of ours
    "_weights": "sources",
    "_wording": "verdict",
    "_yaml": "suite",
    "_yaml_limits": "suite",
}
"""Which module a private one serves; it stands on that module's level."""

SIDEWAYS = {
    ("execute", "acquire"),  # has the models that are measured
    ("execute", "measure"),  # its torch side, imported when there is something to measure
    ("execute", "fingerprints"),  # likewise
    ("fingerprints", "measure"),  # likewise
    ("execute", "proxies"),  # likewise
    ("live", "measure"),  # the shape of a model
    ("loading", "weights"),  # looks at weights that it does not load
    ("proxies", "measure"),  # likewise
    ("permtest", "transforms"),  # permutes what the transforms know how to permute
    ("recipes", "transforms"),  # a recipe is made of transforms
    ("verification", "tracing"),  # runs a model as the trace does
    ("architecture", "tracing"),  # says what cannot be compared of what is found there
    ("functions", "architecture"),  # calls what is found there
    ("functions", "tracing"),  # evaluates a model as the trace does
    ("transforms", "tracing"),  # permutes the units of what is found there
}
"""Imports within one level, each with its reason; `errors`, `vocabulary` and private ones are free."""

BUILT_ON = {"generalized": "match", "match_cosine": "match", "match_weights": "match"}
"""Statistics that are another one by definition, on other data; the rest know no other."""

HEAVY = {"assignment", "blocks", "loading", "permtest", "tracing"}
"""Modules that need torch, and so do the private ones that serve them."""

LIGHT = [
    "provenance",
    "provenance.acquire",
    "provenance.attest",
    "provenance.audit",
    "provenance.cli",
    "provenance.cluster",
    *(f"provenance.cluster.{path.stem}" for path in sorted((PACKAGE / "cluster").glob("[!_]*.py"))),
    "provenance.drafting",
    "provenance.doctor",
    "provenance.errors",
    "provenance.evidence",
    "provenance.execute",
    "provenance.fingerprinting",
    "provenance.gate",
    *(f"provenance.gate.{path.stem}" for path in sorted((PACKAGE / "gate").glob("[!_]*.py"))),
    "provenance.lineage",
    "provenance.plan",
    "provenance.pvalues",
    "provenance.reading",
    "provenance.recipes",
    "provenance.recipes.families",
    "provenance.recipes.settings",
    "provenance.report",
    *(f"provenance.report.{path.stem}" for path in sorted((PACKAGE / "report").glob("[!_]*.py"))),
    "provenance.results",
    "provenance.sources",
    "provenance.statistics",
    "provenance.store",
    "provenance.suite",
    "provenance.verdict",
    "provenance.vocabulary",
    *(f"provenance.{name}" for name in sorted(PRIVATE) if PRIVATE[name] not in HEAVY),
    *(f"provenance.plugin.{path.stem}" for path in sorted((PACKAGE / "plugin").glob("[!_]*.py"))),
    "provenance.plugin",
]
"""What pytest loads at its start, and what reads and judges stored evidence."""

modules = pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)


# the public names


def isort_style(name):
    """Constants, then classes, then the rest: the order of ruff's RUF022."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return kind, name


def test_all_is_sorted():
    assert provenance.__all__ == sorted(set(provenance.__all__), key=isort_style)


def test_all_names_have_a_home_and_no_others_do():
    assert set(provenance._HOMES) == set(provenance.__all__)


@pytest.mark.parametrize("name", provenance.__all__)
def test_a_public_name_is_what_its_home_holds(name):
    module, _, attribute = provenance._HOMES[name].partition(":")
    home = import_module(f"provenance.{module}")
    assert getattr(provenance, name) is getattr(home, attribute or name)


def test_a_type_checker_sees_the_same_names_from_the_same_homes():
    tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
    guarded = [node for node in tree.body if is_type_checking(node)]
    seen = {
        alias.asname or alias.name: (node.module, alias.name)
        for guard in guarded
        for node in guard.body
        for alias in node.names
        if node.module != "collections.abc"
    }
    homes = {name: home.partition(":") for name, home in provenance._HOMES.items()}
    assert seen == {
        name: (f"provenance.{module}", attribute or name)
        for name, (module, _, attribute) in homes.items()
    }


def test_dir_shows_the_public_names_alone():
    assert dir(provenance) == sorted(provenance.__all__)


def test_a_star_import_brings_the_public_names_alone():
    names = {}
    exec("from provenance import *", names)
    assert set(names) - {"__builtins__"} == set(provenance.__all__)


@pytest.mark.parametrize("name", ["Comparison", "fisher", "compare_all", "_private"])
def test_another_name_is_no_attribute(name):
    with pytest.raises(AttributeError, match=f"^module 'provenance' has no attribute '{name}'$"):
        getattr(provenance, name)


@pytest.mark.parametrize("name", provenance.__all__)
def test_a_public_function_or_class_is_documented(name):
    value = getattr(provenance, name)
    if callable(value):
        assert value.__doc__


# what is light to import


def loaded_by(names):
    """Modules that a fresh Python holds after importing these, one a line."""
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\n"
    code += "print(*sys.modules, sep='\\n')"
    command = [sys.executable, "-W", "error", "-c", code, *names]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


@pytest.fixture(scope="module")
def light():
    return loaded_by(LIGHT)


@pytest.mark.parametrize(
    "heavy",
    ["torch", "transformers", "tokenizers", "safetensors.torch", "ray", "provenance.measure"],
)
def test_what_pytest_loads_at_its_start_is_light(light, heavy):
    assert set(LIGHT) <= light
    assert heavy not in light


def test_importing_the_package_loads_none_of_its_modules():
    assert [name for name in loaded_by(["provenance"]) if name.startswith("provenance.")] == []


def test_reading_a_suite_loads_no_engine():
    assert not loaded_by(["provenance.suite"]) & {"provenance.execute", "numpy", "scipy"}


def test_the_command_line_begins_without_what_computes():
    assert not loaded_by(["provenance.cli"]) & {
        "numpy",
        "pydantic",
        "sqlalchemy",
        "huggingface_hub",
    }


def test_what_names_no_engine_names_no_pytest():
    assert "pytest" not in loaded_by(["provenance.cli", "provenance.execute"])


# which way imports go


def is_type_checking(node):
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def imports(node):
    """Dotted names that run time imports, those inside functions too."""
    if is_type_checking(node):
        for child in node.orelse:
            yield from imports(child)
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert not node.level, "imports are absolute"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    for child in ast.iter_child_nodes(node):
        yield from imports(child)


def imported_parts(path):
    """Parts of provenance that a file imports; the package's own face is the part ``""``."""
    for name in imports(ast.parse(path.read_text("utf-8"))):
        package, *rest = name.split(".")
        if package == "provenance":
            yield rest[0] if rest and is_module(rest[0]) else ""


def is_module(name):
    return (PACKAGE / f"{name}.py").is_file() or (PACKAGE / name).is_dir()


def part_of(path):
    """The first name below provenance: ``store``, ``plugin``, ``""`` for the package's face."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0].replace("__init__", "")


def level(part):
    return LEVELS[PRIVATE.get(part, part)]


def allowed(part, other):
    if part in {other, ""}:
        return True
    if other == "":
        return level(part) == LEVELS["cli"]
    if level(other) != level(part):
        return level(other) < level(part)
    free = other in PRIVATE or other in {"errors", "vocabulary"}
    return free or (PRIVATE.get(part, part), other) in SIDEWAYS


def test_every_module_has_a_level():
    parts = {part_of(path) for path in PACKAGE.rglob("*.py")} - {""}
    assert parts <= {*LEVELS, *PRIVATE}


@modules
def test_imports_go_down_the_levels(path):
    wrong = {other for other in imported_parts(path) if not allowed(part_of(path), other)}
    assert wrong == set()


def test_every_sideways_import_that_is_excused_is_there():
    parts = {path: part_of(path) for path in PACKAGE.rglob("*.py")}
    found = {
        (PRIVATE.get(part, part), other)
        for path, part in parts.items()
        for other in imported_parts(path)
    }
    assert found >= {(part, other) for part, other in SIDEWAYS if is_module(part)}


@pytest.mark.parametrize(
    "path", sorted((PACKAGE / "statistics").glob("[!_]*.py")), ids=lambda path: path.stem
)
def test_a_statistic_knows_no_other(path):
    names = [name.split(".") for name in imports(ast.parse(path.read_text("utf-8")))]
    others = {name[2] for name in names if name[:2] == ["provenance", "statistics"]}
    assert {name for name in others if name[0] != "_"} <= {BUILT_ON.get(path.stem)}


@modules
def test_only_the_plugin_imports_pytest(path):
    names = {name.split(".")[0] for name in imports(ast.parse(path.read_text("utf-8")))}
    assert part_of(path) == "plugin" or not names & {"pytest", "_pytest", "xdist"}


def test_the_command_line_is_made_of_the_public_names():
    parts = {part for path in (PACKAGE / "cli").glob("*.py") for part in imported_parts(path)}
    assert parts <= {"", "cli"}


def test_an_import_for_types_alone_is_exempt():
    tree = ast.parse(
        "if TYPE_CHECKING:\n    import a\nelse:\n    import b\ndef f():\n    import c.d"
    )
    assert list(imports(tree)) == ["b", "c.d"]
