"""From stored tensors' names and shapes to the structure of a model: its MLPs, and what stands around them.

No code of the model is asked. Known words say which projection is which, and shapes must agree: one hidden
size for all blocks, gate and up alike, down the other way round. Where words and shapes leave a choice, an
error names it, and a person answers it (`provenance.vocabulary.LayoutSpec`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from provenance._text import visible
from provenance.architecture.by_names.around import NormAt, nearest, norms_of, tables_of_tokens
from provenance.architecture.by_names.assemble import Blocks, records_of
from provenance.architecture.by_names.choices import choices_of
from provenance.architecture.by_names.declared import tower_said, with_others
from provenance.architecture.by_names.hints import Hints
from provenance.architecture.by_names.norms import norms_before
from provenance.architecture.by_names.numbered import LONGEST, WRITE, require_all, shown, stacks_of
from provenance.architecture.by_names.patterns import matches
from provenance.architecture.by_names.statements import says_of
from provenance.architecture.by_names.towers import tower_of, untold
from provenance.architecture.by_names.widths import STORED, hidden_size, side_of
from provenance.architecture.collect import record_order
from provenance.architecture.records import Embedding, Refusal, Trace
from provenance.errors import ArchitectureError
from provenance.vocabulary import LayoutSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provenance.architecture.by_names.assemble import OfBlock
    from provenance.architecture.by_names.numbered import Shape
    from provenance.architecture.by_names.towers import Tower


@dataclass(frozen=True)
class Structure:
    """What names and shapes tell of a model.

    Attributes
    ----------
    trace : Trace
        As following the data would give it, without what only code tells: which operations stand between
        the projections.
    norms : mapping
        The norms before MLPs by the paths that the trace's records have; a text says why one is not known.
    routers : mapping
        The matrix that chooses among a block's experts, where one is found.
    says : tuple of str
        What was taken for what, for people.
    """

    trace: Trace
    norms: Mapping[str, NormAt | str]
    routers: Mapping[int, str]
    says: tuple[str, ...]


def structure(
    tensors: Mapping[str, Shape],
    config: Mapping[str, Any],
    said: LayoutSpec | None = None,
) -> Structure:
    """Find the structure of a model in the names and shapes of its tensors.

    Parameters
    ----------
    tensors : mapping
        The shape of every stored tensor by its name; none of them packed.
    config : mapping
        The configuration as ``config.json`` has it: it decides where shapes leave a choice.
    said : LayoutSpec, optional
        What a person said.

    Raises
    ------
    ArchitectureError
        There is no MLP, or names and shapes leave a choice: the message says what to write.
    """
    hints, said = Hints.of(config), said or LayoutSpec()
    stacks, outside = stacks_of(tensors)
    tables = tables_of_tokens(outside, tied=hints.tied)
    named = tower_said(said, tensors)
    tower = tower_of(stacks, tables) if named is None else with_others(named)
    untold_ones = _untold(tower)
    require_all(tower.stack.blocks, f"the blocks of {shown(tower.stack.path)}")
    hidden = _hidden(tower, tables, hints, said)
    blocks = Blocks(
        tower.stack, tensors, hidden, hints, said.transposed, _routers(said, tensors, hidden)
    )
    found = {block: records_of(blocks, block, tower.readings[block]) for block in tower.readings}
    norms = norms_before(blocks, tower, said)
    records = [
        replace(record, input=replace(record.input, norm=norms.paths[record.block]))
        for of_block in found.values()
        for record in of_block.records
    ]
    refused = tuple(refusal for of_block in found.values() for refusal in of_block.refused)
    refused += untold_ones
    if not records:
        raise ArchitectureError(
            f"none of its MLPs can be read: of {shown(refused[0].path)}, {refused[0].reason}"
        )
    trace = Trace(
        architecture=_architecture(config),
        model_type=hints.model_type,
        stack=tower.stack.path,
        blocks=tower.stack.count,
        mlps=tuple(sorted(records, key=record_order)),
        skipped=_skipped(tower, found),
        refused=refused,
        elsewhere=tower.elsewhere,
        embedding=_embedding(said, tensors, tables, tower.stack.path, hidden),
    )
    routers = {block: one.router for block, one in found.items() if one.router is not None}
    return Structure(trace, norms.known, routers, says_of(trace, norms, routers))


def _untold(tower: Tower) -> tuple[Refusal, ...]:
    """What is shaped like an MLP beside those that were found, under names that do not say what is what.

    One matrix for both is more often none.

    Raises
    ------
    ArchitectureError
        It is of experts, which are most of a model.
    """
    refused = []
    for block, readings in tower.readings.items():
        taken = {matrix.name for reading in readings for matrix in reading.matrices}
        for choice in choices_of(tower.stack, block, taken):
            if choice.is_of_experts:
                raise untold(choice, tower.stack)
            if choice.second is not None:
                path = ".".join((*tower.stack.parts, str(block), *choice.holder))
                reason = "its names do not say which is its gate and which its up"
                refused.append(Refusal(block, path, reason))
    return tuple(refused)


def _architecture(config: Mapping[str, Any]) -> str:
    """What the checkpoint says that it is."""
    names = config.get("architectures")
    first = names[0] if isinstance(names, list) and names else config.get("model_type")
    return visible(str(first))[:LONGEST]


def _hidden(tower: Tower, tables: Mapping[str, int], hints: Hints, said: LayoutSpec) -> int:
    """The hidden size of the language model."""
    readings = [reading for of_block in tower.readings.values() for reading in of_block]
    stored: list[int] = []
    if said.transposed is not None:
        stored = side_of(readings, transposed=said.transposed)
    norms = {
        width
        for block, of_block in tower.readings.items()
        for width in norms_of(tower.stack.blocks[block], [one.holder for one in of_block]).values()
    }
    hidden = hidden_size(readings, (stored, norms, tables.values(), hints.hidden))
    if hidden is None:
        raise ArchitectureError(
            f"the shapes of {shown(readings[0].up.name)} and its like do not tell rows from columns: "
            f"{WRITE} {STORED}"
        )
    return hidden


def _routers(
    said: LayoutSpec, tensors: Mapping[str, Shape], hidden: int
) -> Mapping[int, str] | None:
    if said.router is None:
        return None
    found = {block: name for (block, _), name in matches(said.router, tensors).items()}
    if not found:
        raise ArchitectureError(f"layout.router: no tensor is called {shown(said.router)}")
    for name in found.values():
        if len(tensors[name]) != 2 or tensors[name][1] != hidden:
            raise ArchitectureError(
                f"layout.router: tensor {shown(name)} is {list(tensors[name])}: a router has a row of "
                f"{hidden} for each expert"
            )
    return found


def _embedding(
    said: LayoutSpec,
    tensors: Mapping[str, Shape],
    tables: Mapping[str, int],
    stack: str,
    hidden: int,
) -> Embedding | None:
    """The table of tokens; None where none is as wide as hidden states, or several could be it."""
    if said.embedding is None:
        fitting = [name for name, width in tables.items() if width == hidden]
        near = nearest(fitting, stack)
        return Embedding(near[0], None, transposed=False) if len(near) == 1 else None
    shape = tensors.get(said.embedding)
    if shape is None:
        raise ArchitectureError(f"layout.embedding: no tensor is called {shown(said.embedding)}")
    if len(shape) != 2 or shape[1] != hidden:
        raise ArchitectureError(
            f"layout.embedding: tensor {shown(said.embedding)} is {list(shape)}: a table of tokens has "
            f"rows of {hidden}"
        )
    return Embedding(said.embedding, None, transposed=False)


def _skipped(tower: Tower, found: Mapping[int, OfBlock]) -> dict[int, str]:
    """What the blocks without an MLP hold."""
    have = {block for block, one in found.items() if one.records or one.refused}
    return {
        block: f"no MLP by its names, but {_first_parts(tower, block)}"
        for block in sorted(tower.stack.blocks.keys() - have)
    }


def _first_parts(tower: Tower, block: int) -> str:
    parts = dict.fromkeys(path[0] for path in tower.stack.blocks[block])
    shown_ones = ", ".join(visible(part)[:LONGEST] for part in list(parts)[:FEW])
    return shown_ones + (", ..." if len(parts) > FEW else "")


FEW = 6
"""Parts of a block that are named, where it has no MLP."""
