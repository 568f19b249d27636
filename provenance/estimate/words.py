"""An outlook in lines for people."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from provenance._text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provenance.estimate.models import ModelCost
    from provenance.estimate.outlook import Outlook

UNKNOWN = "unknown"


def lines(title: str, outlook: Outlook) -> Iterator[str]:
    """Say what a run will do and take: the totals, then each model, then what is not known."""
    measured = _count(len(outlook.matches), "comparison")
    more = f", {outlook.uncounted} of unknown cost" if outlook.uncounted else ""
    yield f"{visible(title)}: {measured} to measure, {outlook.known} in the store{more}"
    for name, text in _totals(outlook):
        yield f"  {name:<10}{text}"
    names = [visible(model.source) for model in outlook.models]
    wide = max(map(len, names), default=0)
    for name, model in zip(names, outlook.models, strict=True):
        yield f"  model     {name:<{wide}}  {_model(model)}"
    for note in outlook.notes:
        yield f"  note      {visible(note)}"


def _totals(outlook: Outlook) -> Iterator[tuple[str, str]]:
    states = Counter(model.state for model in outlook.models)
    yield "models", ", ".join(f"{number} {state}" for state, number in states.items()) or "none"
    unknown = sum(model.moved is None for model in outlook.models)
    more = f", and {_count(unknown, 'model')} of unknown size" if unknown else ""
    yield "download", f"{in_bytes(outlook.moved)}{more}"
    yield "read", in_bytes(outlook.read)
    before = sum(one.before for one in outlook.makings)
    told = f", {before} by what they took before" if before else ""
    spent = in_time(sum(one.seconds for one in outlook.makings))
    yield "make", f"{_count(len(outlook.makings), 'model')}: {spent}{told}"
    passes = sum(one.tokens * one.parameters for one in outlook.forwards)
    spent = in_time(sum(one.seconds for one in outlook.forwards))
    yield (
        "forward",
        f"{len(outlook.forwards)} passes, {_large(passes)} tokens x parameters: {spent}",
    )
    pairs = sum(one.work.pairs for one in outlook.matches)
    units = max((one.work.units for one in outlook.matches), default=0)
    spent = in_time(sum(one.seconds for one in outlook.matches))
    yield "match", f"{pairs} pairs of MLPs of up to {units} units: {spent}"
    yield "keep", f"{in_bytes(outlook.kept)} more in the store"
    cores = _count(outlook.cores, "core")
    total = f"{in_time(outlook.seconds)} on {cores}, {in_time(outlook.cpu_seconds)} of processors"
    yield "time", f"about {total}" + (", without the download" if outlook.moved or unknown else "")
    yield "memory", f"about {in_bytes(outlook.memory)}"


def _model(model: ModelCost) -> str:
    size = UNKNOWN if model.sizes is None else f"{_large(model.sizes.parameters)} parameters"
    moved = (
        "" if model.moved == 0 else f", {UNKNOWN if model.moved is None else in_bytes(model.moved)}"
    )
    others = len(model.needs) - 1
    needs = f", with {_count(others, 'other recipe')}" if others > 0 else ""
    return f"{model.state}{moved}{needs}, {size}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def in_bytes(number: float) -> str:
    """A number of bytes, with three figures at the most: 1.23 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if number < 1000 or unit == "TiB":
            break
        number /= 1024
    return f"{number:.3g} {unit}"


def in_time(seconds: float) -> str:
    """Seconds, as people say them: 0.4 s, 95 s, 12 min, 3.2 h."""
    unit, size = ("s", 1) if seconds < 120 else ("min", 60) if seconds < 7200 else ("h", 3600)
    number = seconds / size
    return f"{number:.1f} {unit}" if number < 10 else f"{number:.0f} {unit}"


def _large(number: float) -> str:
    for unit in ("", "K", "M", "G", "T", "P"):
        if number < 1000 or unit == "P":
            break
        number /= 1000
    return f"{number:.3g}{unit}"
