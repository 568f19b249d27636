"""The norm before the MLPs of each block, and what it is taken for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provenance.architecture.by_names.around import (
    NormAt,
    attends,
    choices_text,
    norm_before,
    norms_of,
)
from provenance.architecture.by_names.numbered import WRITE, shown
from provenance.architecture.by_names.patterns import BLOCK, matches
from provenance.errors import ArchitectureError
from provenance.vocabulary import WITHOUT_NORM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provenance.architecture.by_names.assemble import Blocks
    from provenance.architecture.by_names.towers import Tower
    from provenance.vocabulary import LayoutSpec, NormKind


@dataclass(frozen=True)
class Norms:
    """The norms of all blocks with an MLP.

    Attributes
    ----------
    paths : mapping of int to str or None
        A block's norm; None where its MLPs read the residual stream as it is.
    known : mapping
        What each norm does, by its path; a text says why that is not known.
    """

    paths: Mapping[int, str | None]
    known: Mapping[str, NormAt | str]


def norms_before(blocks: Blocks, tower: Tower, said: LayoutSpec) -> Norms:
    """Find the norms before the MLPs.

    Raises
    ------
    ArchitectureError
        A person named a norm that is not there, or is no vector of hidden states.
    """
    named = None
    if said.norm is not None and said.norm != WITHOUT_NORM:
        named = {block: name for (block, _), name in matches(said.norm, blocks.tensors).items()}
    paths: dict[int, str | None] = {}
    known: dict[str, NormAt | str] = {}
    for block, readings in tower.readings.items():
        if not readings:
            continue
        if said.norm == WITHOUT_NORM:
            paths[block] = None
            continue
        if named is not None:
            weight = _said(block, named, said, blocks)
            path = weight.rpartition(".")[0]
            paths[block], known[path] = path, _norm_at(weight, blocks, said)
            continue
        own = blocks.stack.blocks[block]
        inside = norms_of(own, [one.holder for one in readings])
        fitting = [name for name, width in inside.items() if width == blocks.hidden]
        chosen = norm_before(fitting, with_attention=attends(own))
        if chosen is None:
            paths[block] = None
        elif isinstance(chosen, str):
            path = blocks.stack.name(block, (chosen,))
            paths[block], known[path] = path, _norm_at(f"{path}.weight", blocks, said)
        else:
            path = blocks.stack.name(block, ("?",))
            paths[block], known[path] = path, _doubt(chosen, blocks)
    return Norms(paths, known)


def _doubt(names: Sequence[str], blocks: Blocks) -> str:
    """Say why a norm is not known."""
    choices = [f"{'.'.join((*blocks.stack.parts, BLOCK, name))}.weight" for name in names]
    if not choices:
        return (
            "no norm before the MLPs is among the tensors: if there is none, "
            f"{WRITE} layout: {{norm: none}}"
        )
    return (
        f"the norm before the MLPs could be {choices_text(choices)}: {WRITE} which, as in "
        f'layout: {{norm: "{choices[0]}"}}, or layout: {{norm: none}}'
    )


def _said(block: int, named: Mapping[int, str], said: LayoutSpec, blocks: Blocks) -> str:
    name = named.get(block)
    if name is None:
        raise ArchitectureError(
            f"layout.norm: block {block} has no tensor that is called {shown(said.norm or '')}"
        )
    if blocks.tensors[name] != (blocks.hidden,):
        raise ArchitectureError(
            f"layout.norm: tensor {shown(name)} is {list(blocks.tensors[name])}, not [{blocks.hidden}]"
        )
    return name


def _norm_at(weight: str, blocks: Blocks, said: LayoutSpec) -> NormAt:
    """What a norm is taken for: LayerNorm by its bias or the configuration, else a root mean square."""
    beside = f"{weight.rpartition('.')[0]}.bias"
    bias = beside if blocks.tensors.get(beside) == (blocks.hidden,) else None
    hints = blocks.hints
    kind: NormKind = "layer" if bias is not None or hints.layer_norm else "rms"
    kind = said.norm_kind or kind
    offset = 1.0 if hints.plus_one and kind == "rms" else 0.0
    return NormAt(kind, offset if said.norm_offset is None else said.norm_offset, weight, bias)
