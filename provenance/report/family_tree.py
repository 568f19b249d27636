"""Draws families: a tree a family, one row a model, an arrow only where something supports it.

Where a claim alone does, the arrow is a broken one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate
from textwrap import wrap
from typing import TYPE_CHECKING

from provenance.evidence.family_formats import agreement
from provenance.evidence.wording import READINGS
from provenance.report.svg import drawing, element, number, text
from provenance.report.view import Family, Figure, LineageView, Table
from provenance.statistics.pvalues import format_p

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from markupsafe import Markup

    from provenance.evidence.families import Kinship, Lineage

ROW, STEP, LEFT, LINE = 46.0, 28.0, 16.0, 15.0
NOTE_LONG = 56
"""Characters of a line of a note."""
NAME_WIDE, NOTE_WIDE = 9.2, 7.0
"""Pixels of a character, so many that a wide font is not clipped."""

RELATIONS = {
    "finetune": "fine-tune",
    "adapter": "adapter",
    "quantized": "quantized copy",
    "merge": "merge",
    "pruned": "pruned copy",
    "permuted": "permuted copy",
    "derived": "descendant",
}
ARROWS = (
    ("arrow", "descent: a reduced shape, or lost numbers, support the direction"),
    ("claimed", "descent as it was claimed: nothing measured supports the direction"),
    ("dashed", f"kinship without a direction: {READINGS}"),
)


@dataclass(frozen=True)
class _Branch:
    """One row of a tree: a model below its parent in the drawing, and the kinship that puts it there.

    ``extra`` counts the lines of notes above it that are more than one a model.
    """

    model: int
    depth: int
    row: int
    above: int | None = None
    kin: Kinship | None = None
    extra: int = 0


def view_lineage(lineage: Lineage) -> LineageView:
    """Draw every family, and list all kinships."""
    families = [family for family in lineage.families if len(family) > 1]
    return LineageView(
        families=tuple(_family(i, family, lineage) for i, family in enumerate(families)),
        alone=tuple(lineage.models[f[0]].label for f in lineage.families if len(f) == 1),
        kinships=_table(lineage),
        disagreements=lineage.disagreements,
    )


def _family(index: int, family: Sequence[int], lineage: Lineage) -> Family:
    branches = _branches(family, [kin for kin in lineage.kinships if kin.drawn])
    above = {branch.model: branch for branch in branches}
    notes = [_note(branch, lineage, above) for branch in branches]
    lines = [wrap(note, NOTE_LONG, break_long_words=False) for note in notes]
    extra = list(accumulate((len(each) - 1 for each in lines), initial=0))
    branches = [replace(b, extra=more) for b, more in zip(branches, extra[:-1], strict=True)]
    rows = {branch.model: branch for branch in branches}
    longest = max(
        max(NAME_WIDE * len(lineage.models[b.model].label), NOTE_WIDE * max(map(len, each)))
        + STEP * b.depth
        for b, each in zip(branches, lines, strict=True)
    )
    size = (LEFT + 20 + longest, ROW * len(branches) + LINE * extra[-1] + 6)
    title = f"Family of {len(family)} models"
    words = (
        title,
        " ".join(_sentence_of(b, note, lineage) for b, note in zip(branches, notes, strict=True)),
    )
    shapes: list[Markup] = []
    for branch in branches:
        shapes += _link(branch, rows)
    for branch, each in zip(branches, lines, strict=True):
        x, y = _place(branch)
        shapes.append(element("circle", cx=x, cy=y, r=5, class_="model"))
        shapes.append(text(x + 13, y + 5, lineage.models[branch.model].label, "name"))
        shapes += [text(x + 13, y + 20 + LINE * i, said, "note") for i, said in enumerate(each)]
    kinds = frozenset(_kind(b.kin) for b in branches if b.kin is not None)
    figure = Figure(drawing(f"family-{index}", size, words, *shapes), title, kinds)
    return Family(figure, title)


def _kind(kin: Kinship) -> str:
    """Which entry of the legend says how a kinship is drawn."""
    return "dashed" if not kin.directed else "claimed" if kin.claimed else "arrow"


def _place(branch: _Branch) -> tuple[float, float]:
    return LEFT + STEP * branch.depth, 16 + ROW * branch.row + LINE * branch.extra


def _branches(family: Sequence[int], kinships: Sequence[Kinship]) -> list[_Branch]:
    """The spanning structure of a family, depth first from the model that most descend from."""
    near: dict[int, list[tuple[int, Kinship]]] = {model: [] for model in family}
    children = {(kin.a, kin.b) for kin in kinships if kin.directed}
    for kin in kinships:
        if kin.a in near:
            near[kin.a].append((kin.b, kin))
            near[kin.b].append((kin.a, kin))
    parents = {b for _, b in children}
    roots = [model for model in family if model not in parents] or list(family)
    root = max(roots, key=lambda model: _descendants(model, children))
    found: list[_Branch] = []
    waiting: list[tuple[int, int, int | None, Kinship | None]] = [(root, 0, None, None)]
    seen = set()
    while waiting:
        model, depth, above, through = waiting.pop()
        seen.add(model)
        found.append(_Branch(model, depth, len(found), above, through))
        later = [(m, kin) for m, kin in near[model] if m not in seen]
        later.sort(key=lambda entry: (entry[1].log10_p, entry[0]), reverse=True)
        waiting += [(m, depth + 1, model, kin) for m, kin in later]
    return found


def _descendants(model: int, children: Iterable[tuple[int, int]]) -> int:
    below = {model}
    while more := {b for a, b in children if a in below} - below:
        below |= more
    return len(below)


def _link(branch: _Branch, rows: dict[int, _Branch]) -> list[Markup]:
    """The line from a model to that above it, with its head where there is a direction."""
    if branch.above is None or branch.kin is None:
        return []
    (x1, y1), (x2, y2) = _place(rows[branch.above]), _place(branch)
    path = f"M{number(x1)} {number(y1 + 7)}V{number(y2)}H{number(x2 - 8)}"
    shapes = [element("path", d=path, class_=f"link {_kind(branch.kin)}")]
    if branch.kin.directed:
        down = branch.kin.b == branch.model
        tip = (
            f"M{number(x2 - 7)} {number(y2)}l-8 -4v8z"
            if down
            else f"M{number(x1)} {number(y1 + 7)}l-4 8h8z"
        )
        shapes.append(element("path", d=tip, class_="head"))
    return shapes


def _note(branch: _Branch, lineage: Lineage, rows: dict[int, _Branch]) -> str:
    """What stands under a model: how it is kin to the one above, and from whom else it descends."""
    if branch.above is None or branch.kin is None:
        record = lineage.models[branch.model]
        return f"{record.architecture}, {record.blocks} blocks"
    above = lineage.models[branch.above].label
    p = format_p(branch.kin.log10_p)
    word = RELATIONS.get(branch.kin.relation or "", "descendant")
    if not branch.kin.directed:
        kinship = f"kin of {above}"
    elif branch.kin.b == branch.model:
        kinship = f"{word} of {above}"
    else:
        kinship = f"{above} is a {word} of it"
    if branch.kin.claimed:
        kinship += ", as claimed"
    others = [
        lineage.models[kin.a].label + (" (as claimed)" if kin.claimed else "")
        for kin in lineage.kinships
        if kin.directed
        and kin.b == branch.model
        and not kin.drawn
        and not _over(kin.a, branch, rows)
    ]
    also = f"; also descends from {', '.join(others)}" if others else ""
    agree = agreement(branch.kin)
    return f"{kinship}, p = {p}{agree and f', {agree}'}{also}"


def _over(model: int, branch: _Branch, rows: dict[int, _Branch]) -> bool:
    """Whether a model stands above a branch, near or far."""
    at: _Branch | None = branch
    while at is not None:
        if at.model == model:
            return True
        at = None if at.above is None else rows[at.above]
    return False


def _sentence_of(branch: _Branch, note: str, lineage: Lineage) -> str:
    return f"{lineage.models[branch.model].label}: {note}."


def _agreeing(kin: Kinship) -> str:
    if kin.agreeing is None:
        return "no distance" if kin.no_distance else "–"
    return "{} of {}".format(*kin.agreeing)


def _table(lineage: Lineage) -> Table:
    labels = [model.label for model in lineage.models]
    rows = tuple(
        (
            labels[kin.a],
            "→" if kin.directed else "—",
            labels[kin.b],
            format_p(kin.log10_p),
            " ".join(kin.support) or "nothing: kinship is mutual",
            ", ".join(kin.claims),
            _agreeing(kin),
            "yes" if kin.drawn else "no",
        )
        for kin in sorted(lineage.kinships, key=lambda kin: (not kin.drawn, kin.log10_p))
    )
    head = (
        *("model", "", "model", "p"),
        *("what supports the direction", "claims", "blocks that agree", "drawn"),
    )
    return Table("Every kinship that was found", head, rows, frozenset({0, 1, 2, 4, 5, 7}))
