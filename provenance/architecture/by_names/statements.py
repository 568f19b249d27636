"""Says what tensors were taken for what, so that a person can judge it and write it down as a layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance._text import visible
from provenance.architecture.by_names.numbered import LONGEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from provenance.architecture.by_names.around import NormAt
    from provenance.architecture.by_names.norms import Norms
    from provenance.architecture.records import MLPRecord, Projection, Trace

MOST = 4
"""So many different kinds of MLPs, norms or routers are told."""


def says_of(trace: Trace, norms: Norms, routers: Mapping[int, str]) -> tuple[str, ...]:
    """What was taken for what, in sentences without a subject: one for each kind of thing."""
    mlps = (_mlp(record, trace.stack) for record in trace.mlps)
    found = [norms.known[path] for path in norms.paths.values() if path is not None]
    before = (_norm(one, trace.stack) for one in found)
    without = [block for block, path in norms.paths.items() if path is None]
    activation = trace.mlps[0].activation
    return (
        *_few(mlps),
        *_few(before),
        *(("no norm before the MLPs",) if without else ()),
        *_few(f"router {_open(name, trace.stack)}" for name in routers.values()),
        "no table of tokens"
        if trace.embedding is None
        else f"table of tokens {_short(trace.embedding.parameter)}",
        f"activation {visible(activation)[:LONGEST]}, as the configuration says"
        if activation
        else "activation taken for SiLU",
    )


def _few(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))[:MOST]


def _mlp(record: MLPRecord, stack: str) -> str:
    number = str(record.expert) if record.up.expert is None and record.expert is not None else None
    up, down = (_projection(one, record, stack, number) for one in (record.up, record.down))
    role = "" if record.role == "dense" else f"{record.role} "
    gate = (
        "" if record.gate is None else f"gate {_projection(record.gate, record, stack, number)}, "
    )
    return f"{role}{gate}up {up}, down {down}"


def _projection(one: Projection, record: MLPRecord, stack: str, number: str | None) -> str:
    name = _open(one.parameter, stack, number)
    is_both = record.gate is not None and record.gate.parameter == record.up.parameter
    if not is_both or one is record.down:
        return name
    first = record.gate if record.gate.channels.start < record.up.channels.start else record.up  # type: ignore[union-attr]
    if one.channels.step == 2:
        return f"{name}{'[::2]' if one == first else '[1::2]'}"
    return f"{name}{'[:I]' if one == first else '[I:]'}"


def _norm(one: NormAt | str, stack: str) -> str:
    if isinstance(one, str):
        return one
    does = {"rms": "a root mean square", "layer": "LayerNorm"}[one.kind]
    plus = f" plus {one.offset:g}" if one.offset else ""
    return f"norm {_open(one.weight, stack)}, taken for {does} times that{plus}"


def _open(name: str, stack: str, number: str | None = None) -> str:
    """A tensor's name with the numbers of its block and of its expert left open."""
    parts = name.split(".")
    depth = len(stack.split(".")) if stack else 0
    if len(parts) > depth and parts[depth].isdigit():
        parts[depth] = "{block}"
    if number is not None and number in parts:
        parts[len(parts) - 1 - parts[::-1].index(number)] = "{expert}"
    return _short(".".join(parts))


def _short(name: str) -> str:
    text = visible(name)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
