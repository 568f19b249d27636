"""A lineage as text that other programs draw: JSON, DOT (Graphviz) and Mermaid."""

from __future__ import annotations

import json
import string
from typing import TYPE_CHECKING, Literal

from provenance._text import visible
from provenance.statistics.pvalues import format_p

if TYPE_CHECKING:
    from provenance.evidence.families import Kinship, Lineage

Format = Literal["json", "dot", "mermaid"]

_PLAIN = frozenset(string.ascii_letters + string.digits + " .,_-/@:=()")


def format_lineage(lineage: Lineage, kind: Format) -> str:
    """Write a lineage for another program.

    Parameters
    ----------
    lineage : Lineage
        Of `provenance.evidence.families.lineage_graph`.
    kind : str
        "json": everything. "dot" and "mermaid": the spanning structure, an arrow from parent to child
        where something measured supports it, a dashed arrow where a claim alone does, a dashed line
        where nothing does.

    References
    ----------
    .. [1] The DOT language. https://graphviz.org/doc/info/lang.html
    .. [2] Mermaid flowcharts. https://mermaid.js.org/syntax/flowchart.html
    """
    if kind == "json":
        return json.dumps(lineage.to_dict(), indent=1, allow_nan=False)
    lines = _dot(lineage) if kind == "dot" else _mermaid(lineage)
    return "\n".join(lines)


def edge_words(kin: Kinship) -> str:
    """What stands on an edge: the relation that was claimed, the p-value, and the blocks that agree."""
    relation = f"claimed {kin.relation}" if kin.claimed else kin.relation or "kin"
    return ", ".join(filter(None, (relation, f"p = {format_p(kin.log10_p)}", agreement(kin))))


def agreement(kin: Kinship) -> str:
    """How many blocks would draw a kinship by their own distances; empty where that is not known."""
    if kin.no_distance:
        return "by p-value, without a distance"
    if kin.agreeing is None:
        return ""
    some = ", among the pairs with a distance" if kin.among_some else ""
    return "{} of {} blocks agree".format(*kin.agreeing) + some


def _styled(kin: Kinship, whole: str, claimed: str, line: str) -> str:
    """How an edge is drawn: by what supports its direction, if anything does."""
    return line if not kin.directed else claimed if kin.claimed else whole


def _dot(lineage: Lineage) -> list[str]:
    lines = ["digraph lineage {", "  rankdir=LR;", "  node [shape=box];"]
    lines += [f"  n{i} [label={_quoted(m.label)}];" for i, m in enumerate(lineage.models)]
    for kin in lineage.kinships:
        if kin.drawn:
            style = _styled(kin, "", ", style=dashed", ", dir=none, style=dashed")
            lines.append(f"  n{kin.a} -> n{kin.b} [label={_quoted(edge_words(kin))}{style}];")
    return [*lines, "}"]


def _quoted(text: str) -> str:
    # In a label a backslash begins an escape of Graphviz's own, and & an entity of HTML.
    safe = visible(text).replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{safe}"'


def _mermaid(lineage: Lineage) -> list[str]:
    lines = ["flowchart LR"]
    lines += [f'  n{i}["{_entities(m.label)}"]' for i, m in enumerate(lineage.models)]
    for kin in lineage.kinships:
        if kin.drawn:
            arrow = _styled(kin, "-->", "-.->", "-.-")
            lines.append(f'  n{kin.a} {arrow}|"{_entities(edge_words(kin))}"| n{kin.b}')
    return lines


def _entities(text: str) -> str:
    # Mermaid writes a character as #code;, and reads Markdown and HTML in labels.
    return "".join(c if c in _PLAIN else f"#{ord(c)};" for c in visible(text))
