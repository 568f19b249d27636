"""What the MLPs of a model are made of, as data: which channels of which parameters.

A record names parameters, never modules to call. Any unit of any block can be computed from the hidden
states and the weights alone::

    record = trace(model).mlps[0]
    weight = projection_weight(record.up, model.get_parameter(record.up.parameter))
    before = hidden @ weight.T  # (tokens, units), plus projection_bias(...) where there is one

`provenance.architecture.trace` makes the records.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping  # noqa: TC003 - pydantic reads the annotations
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import TYPE_CHECKING, Literal

import torch

from provenance.architecture.units import LinearMap
from provenance.errors import ArchitectureError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import nn

MLPKind = Literal["gated", "plain"]
MLPRole = Literal["dense", "shared", "expert"]


@dataclass(frozen=True)
class Channels:
    """The indices ``range(start, stop, step)`` along one axis of a parameter, one a unit."""

    start: int
    stop: int
    step: int
    axis: int

    def __len__(self) -> int:
        return len(self.indices())

    def indices(self) -> range:
        """Return the index of every unit, in the units' order."""
        return range(self.start, self.stop, self.step)


@dataclass(frozen=True)
class Projection:
    """One linear map between hidden states and units: part of a parameter.

    Attributes
    ----------
    parameter : str
        For ``model.get_parameter``. Two axes, or three where the first counts experts.
    channels : Channels
        Where the units lie. For `down` that is the axis it sums over.
    expert : int or None
        Index along the first of three axes.
    bias : str or None
        For ``model.get_parameter``; with a first axis of experts where the weight has one.
    transposed : bool
        Whether the weight is stored as (in, out), as ``Conv1D`` does, not as (out, in).
    """

    parameter: str
    channels: Channels
    expert: int | None
    bias: str | None
    transposed: bool


@dataclass(frozen=True)
class HiddenInput:
    """Where the hidden states that an MLP reads can be seen, once for every token.

    Attributes
    ----------
    module : str
        Its first positional argument, (..., hidden), is what gate and up read, of all positions: before
        routing, where there are experts. A few families make more positions than tokens (CPM-Ant puts
        a prompt before them).
    scaled : bool
        Whether a router multiplies each token by a number of its own before the projections, so
        that what they put out is the record's times that number (Llama 4).
    norm : str or None
        The module that makes these hidden states of the residual stream: a normalisation, which has
        no matrix. None where they are read as they are.
    """

    module: str
    scaled: bool
    norm: str | None = None


@dataclass(frozen=True)
class Embedding:
    """Where a model's tokens have their rows.

    Attributes
    ----------
    parameter : str
        For ``model.get_parameter``: (tokens, width).
    projection : str or None
        The matrix that the rows are multiplied with first, where there is one: it makes hidden states
        of narrower rows (OPT 350m).
    transposed : bool
        Whether that is stored as (in, out).
    """

    parameter: str
    projection: str | None
    transposed: bool


@dataclass(frozen=True)
class MLPRecord:
    """One MLP of one block, or one expert of it.

    Attributes
    ----------
    path : str
        The innermost module that holds all its parameters.
    role : {"dense", "shared", "expert"}
        ``shared``: reads what the experts of its block read, and is not routed.
    expert : int or None
        Its number among the experts of the block, or among shared ones that are stacked.
    activation : str
        The class of the module that it is, else the operations in order, for the curious.
    activation_module : str or None
        Where it is a module that takes what `gate` (plain: `up`) puts out.
    up_terms : str
        What happens to `up`'s output before the product, in order (gpt-oss: ``clamp add``).
    product_terms : str
        What happens between the product and `down` (BitNet: a norm).
    """

    block: int
    path: str
    kind: MLPKind
    role: MLPRole
    expert: int | None
    gate: Projection | None
    up: Projection
    down: Projection
    units: int
    hidden: int
    input: HiddenInput
    activation: str
    activation_module: str | None
    up_terms: str
    product_terms: str


@dataclass(frozen=True)
class Refusal:
    """An MLP that is there and cannot be measured from its parameters alone, and why."""

    block: int
    path: str
    reason: str


@dataclass(frozen=True)
class Trace:
    """The MLPs of a model, found by following the data through one forward pass.

    Attributes
    ----------
    stack : str
        Path of the list of blocks; empty where the model has none.
    mlps : tuple of MLPRecord
        By block; empty where no block has one that can be measured.
    skipped : mapping
        What the blocks hold that have no MLP at all, by index; or that did not run on text alone.
    refused : tuple of Refusal
        MLPs that are shared between blocks, run more than once, or have an adapter beside them.
    elsewhere : tuple of str
        Other lists of blocks that have MLPs of their own and ran too.
    embedding : Embedding or None
        Where tokens have their rows, None where the model has no table of them.
    """

    architecture: str
    model_type: str
    stack: str
    blocks: int
    mlps: tuple[MLPRecord, ...]
    skipped: Mapping[int, str]
    refused: tuple[Refusal, ...]
    elsewhere: tuple[str, ...]
    embedding: Embedding | None = None

    def parameters(self) -> list[str]:
        """Name the parameters that the projections of all MLPs are part of, each once."""
        projections = (p for r in self.mlps for p in (r.gate, r.up, r.down) if p is not None)
        return list(dict.fromkeys(p.parameter for p in projections))

    def of_block(self, block: int) -> tuple[MLPRecord, ...]:
        """Return the records of one block: none, one, or one for each of its MLPs and experts."""
        return self._by_block.get(block, ())

    @cached_property
    def _by_block(self) -> Mapping[int, tuple[MLPRecord, ...]]:
        blocks: dict[int, list[MLPRecord]] = defaultdict(list)
        for record in self.mlps:
            blocks[record.block].append(record)
        return {block: tuple(records) for block, records in blocks.items()}

    def places(self) -> Iterator[tuple[int, int, MLPRecord]]:
        """Every MLP with its block and its place among the MLPs of that block."""
        for block, records in self._by_block.items():
            for place, record in enumerate(records):
                yield block, place, record

    def labels(self, block: int) -> tuple[str, ...]:
        """Return what to call each MLP of a block: "MLP", "expert 3", "shared expert".

        Those of one role that are not numbered are told apart by their paths.
        """
        records = self.of_block(block)
        names = [_ROLES[record.role].format(record.expert) for record in records]
        count = Counter(names)
        return tuple(
            name if count[name] == 1 else f"{name} of {record.path}"
            for name, record in zip(names, records, strict=True)
        )

    def without(self) -> dict[int, str]:
        """Return what the blocks hold that have no MLP to be measured, or why theirs is refused."""
        measured = {record.block for record in self.mlps}
        refused = {refusal.block: refusal.reason for refusal in self.refused}
        return {i: what for i, what in ({**refused, **self.skipped}).items() if i not in measured}


def common_path(paths: Iterable[str]) -> list[str]:
    """Return the names, outermost first, of the innermost module that holds all of these."""
    levels = zip(*(path.split(".") for path in paths), strict=False)
    return [level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels)]


_ROLES: Mapping[MLPRole, str] = {"dense": "MLP", "shared": "shared expert", "expert": "expert {}"}


def projection_weight(projection: Projection, tensor: torch.Tensor) -> torch.Tensor:
    """Return the rows of a projection, one a unit, (units, hidden); a view of the parameter.

    Parameters
    ----------
    projection : Projection
        Of an MLP's gate, up or down.
    tensor : torch.Tensor
        The parameter that it names, or a checkpoint's tensor of the same shape.

    Raises
    ------
    ArchitectureError
        If the tensor has packed (quantized) numbers, or too few axes or channels.
    """
    channels = projection.channels
    axes = 2 if projection.expert is None else 3
    fits = (
        tensor.dim() == axes and max(channels.indices(), default=-1) < tensor.shape[channels.axis]
    )
    if not fits or not tensor.is_floating_point():
        raise ArchitectureError(
            f"{projection.parameter} is {list(tensor.shape)} of {tensor.dtype}, which is not the matrix "
            "that was traced: load the model unquantized, and trace the model that is measured"
        )
    matrix = tensor if projection.expert is None else tensor[projection.expert]
    rows = matrix.movedim(channels.axis - (axes - 2), 0)
    return rows[channels.start : channels.stop : channels.step]


def projection_bias(projection: Projection, tensor: torch.Tensor) -> torch.Tensor:
    """Return the bias that a projection adds, (units,), of `down` (hidden,).

    Parameters
    ----------
    projection : Projection
        One with a bias.
    tensor : torch.Tensor
        The parameter that its ``bias`` names.
    """
    channels = projection.channels
    axes = 2 if projection.expert is None else 3
    vector = tensor if projection.expert is None else tensor[projection.expert]
    if channels.axis != axes - (1 if projection.transposed else 2):  # `down`: units are its input
        return vector
    return vector[channels.start : channels.stop : channels.step]


def linear_map(projection: Projection, parameter: Callable[[str], torch.Tensor]) -> LinearMap:
    """Return a projection, of parameters that are had by their names, detached."""
    weight = projection_weight(projection, parameter(projection.parameter)).detach()
    if projection.bias is None:
        return LinearMap(weight)
    return LinearMap(weight, projection_bias(projection, parameter(projection.bias)).detach())


def activation(
    model: nn.Module, record: MLPRecord
) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """Return what stands between the projections, if it is one function and nothing else is there."""
    if record.up_terms or record.product_terms:
        return None
    if record.activation_module is not None:
        return model.get_submodule(record.activation_module)
    function = getattr(torch.nn.functional, record.activation, None)
    return function or getattr(torch, record.activation, None)
