"""Holds records against a real forward pass: what they say must be what the model computes.

Nothing here knows how the records were found. Each matrix multiplication of the pass is taken as it comes,
with its numbers, and belongs to a record if the rows that the record names lie in memory where the columns
of the matrix do.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from provenance.architecture.records import activation, linear_map, projection_weight
from provenance.architecture.trace import run
from provenance.errors import ArchitectureError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import nn

    from provenance.architecture.records import MLPRecord, Projection, Trace


MATMULS = {"mm", "addmm", "bmm", "_grouped_mm"}


@dataclass(frozen=True)
class Check:
    """How far a record and a forward pass are apart, relative to the largest number in the pass.

    Attributes
    ----------
    rows : int
        Tokens that reached the MLP; 0 for an expert that got none, and then nothing was compared.
    input_error : float
        What gate and up multiplied against the nearest of the hidden states that were observed.
    linear_error : float
        The record's gate and up, computed from those, against what the multiplications gave.
    product_error : float or None
        ``act(gate) * up`` (plain: ``act(up)``) against what entered `down`. None where the record says
        that the product has other terms, or that the activation is no single function.
    """

    record: MLPRecord
    rows: int
    input_error: float
    linear_error: float
    product_error: float | None

    def worst(self) -> float:
        """Return the largest of the errors."""
        return max(self.input_error, self.linear_error, self.product_error or 0.0)


@dataclass(frozen=True)
class _Use:
    """One matrix multiplication: ``weight`` (in, out), a view where the model's own is."""

    hidden: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor | None
    out: torch.Tensor


def verify(model: nn.Module, trace: Trace, ids: torch.Tensor) -> tuple[Check, ...]:
    """Compare every record with one forward pass.

    Keeps all inputs and outputs of the pass in memory, so `ids` is best short.

    Parameters
    ----------
    model : torch.nn.Module
        With numbers, in a floating dtype; its weights may not be packed or offloaded.
    trace : Trace
        Of this model, or of its configuration.
    ids : torch.Tensor
        Token ids, (1, tokens) int64.

    Returns
    -------
    tuple of Check
        One a record, in their order.

    Raises
    ------
    ArchitectureError
        If the model does not run on `ids`, has not the parameters that the records name, or multiplies
        with other parts of them.
    """
    witness = _Witness()
    with torch.no_grad():
        with _seen(model, trace.mlps) as hidden, witness:
            run(model, ids)
        return tuple(_check(model, record, hidden, witness.uses) for record in trace.mlps)


@contextmanager
def _seen(model: nn.Module, records: Sequence[MLPRecord]) -> Iterator[dict[str, torch.Tensor]]:
    """The hidden states that enter the modules that the records name, (tokens, hidden)."""
    seen: dict[str, torch.Tensor] = {}

    def keep(path: str) -> Callable[[nn.Module, Any], None]:
        def hook(_module: nn.Module, args: Any) -> None:
            seen.setdefault(path, args[0].detach().reshape(-1, args[0].shape[-1]).clone())

        return hook

    with ExitStack() as stack:
        for path in dict.fromkeys(record.input.module for record in records):
            module = model.get_submodule(path)
            stack.callback(module.register_forward_pre_hook(keep(path)).remove)
        yield seen


class _Witness(TorchDispatchMode):
    """Keeps every matrix multiplication with its numbers, by the storage of its weight."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.uses: dict[int, list[_Use]] = {}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run an operation and keep it if it is a matrix multiplication."""
        out = func(*args, **(kwargs or {}))
        name = func._schema.name.rpartition("::")[2]
        kept = out.clone() if name in MATMULS else None  # a bias may be added in place
        for use in _uses(name, args, kwargs or {}, kept):
            place = use.weight.untyped_storage().data_ptr()
            self.uses.setdefault(place, []).append(use)
        return out


def _uses(name: str, args: tuple[Any, ...], named: dict[str, Any], out: Any) -> Iterator[_Use]:
    if name == "mm":
        yield _Use(args[0], args[1], None, out)
    elif name == "addmm":
        yield _Use(args[1], args[2], args[0], out)
    elif name == "bmm":
        for hidden, weight, result in zip(args[0], args[1], out, strict=True):
            yield _Use(hidden, weight, None, result)
            yield _Use(weight.mT, hidden.mT, None, result.mT)
    elif name == "_grouped_mm":
        offsets = named["offs"] if "offs" in named else args[2]
        ends = [0, *offsets.tolist()]
        for weight, start, end in zip(args[1], ends[:-1], ends[1:], strict=True):
            if end > start:
                yield _Use(args[0][start:end], weight, None, out[start:end])


def _check(
    model: nn.Module,
    record: MLPRecord,
    hidden: dict[str, torch.Tensor],
    uses: dict[int, list[_Use]],
) -> Check:
    ups = _found(model, record.up, uses)
    gates = _found(model, record.gate, uses) if record.gate else ups
    downs = _found(model, record.down, uses, out=False)
    if not len(gates) == len(ups) == len(downs) or not (ups or record.role == "expert"):
        raise ArchitectureError(
            f"{record.path}: of its gate, up and down as recorded, the pass multiplied with "
            f"{len(gates)}, {len(ups)} and {len(downs)}: the record is wrong, or weights are copied first"
        )
    if not ups:
        return Check(record, 0, 0.0, 0.0, None)
    rows = sum(len(use.hidden) for use, _ in ups)
    errors = [
        _errors(model, record, hidden[record.input.module], seen)
        for seen in zip(gates, ups, downs, strict=True)
    ]
    worst = [max(column) for column in zip(*errors, strict=True)]
    act = activation(model, record)
    return Check(record, rows, worst[0], worst[1], worst[2] if act else None)


Seen = tuple[_Use, slice]


def _found(
    model: nn.Module, projection: Projection, uses: dict[int, list[_Use]], *, out: bool = True
) -> list[Seen]:
    """The multiplications whose weight's columns (for `down`: rows) are a projection's rows."""
    rows = projection_weight(projection, model.get_parameter(projection.parameter))
    found = []
    for use in uses.get(rows.untyped_storage().data_ptr(), []):
        columns = _columns(use.weight if out else use.weight.mT, rows)
        if columns is not None and len(use.hidden):
            found.append((use, columns))
    return found


def _columns(weight: torch.Tensor, rows: torch.Tensor) -> slice | None:
    """Which columns of a matrix (in, out) lie in memory where some rows (units, in) do."""
    apart = int(rows.storage_offset()) - int(weight.storage_offset())
    if weight.shape[0] != rows.shape[1] or weight.stride(0) != rows.stride(1):
        return None
    first, rest = divmod(apart, weight.stride(1))
    step, odd = divmod(rows.stride(0), weight.stride(1))
    stop = first + (len(rows) - 1) * step + 1
    if rest or odd or first < 0 or stop > weight.shape[1]:
        return None
    return slice(first, stop, step)


def _errors(
    model: nn.Module, record: MLPRecord, hidden: torch.Tensor, seen: tuple[Seen, Seen, Seen]
) -> tuple[float, float, float]:
    """Input, linear and product error of one use of an MLP."""
    (gate_use, gate_at), (up_use, up_at), (down_use, _) = seen
    rows, scale = _tokens(up_use.hidden, hidden, scaled=record.input.scaled)
    input_error = _apart(rows * scale, up_use.hidden)
    linear, values = 0.0, []
    for part, use, at in ((record.gate, gate_use, gate_at), (record.up, up_use, up_at)):
        if part is None:
            continue
        traced = linear_map(part, model.get_parameter)
        bias = 0.0 if traced.bias is None else traced.bias
        before = (rows @ traced.weight.T) * scale + bias
        # a bias that is added later is not in the multiplication's own result
        late = bias if use.bias is None else 0.0
        linear = max(linear, _apart(before - late, use.out[:, at]))
        values.append(before)
    act = activation(model, record)
    product = act(values[0]) if act else None
    if product is None:
        return input_error, linear, 0.0
    return (
        input_error,
        linear,
        _apart(product * values[1] if values[1:] else product, down_use.hidden),
    )


def _tokens(
    used: torch.Tensor, hidden: torch.Tensor, *, scaled: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """The hidden state nearest to each that was used (tokens, hidden), and what it was times."""
    norm = torch.nn.functional.normalize
    near = (norm(used.double()) @ norm(hidden.double()).T).argmax(1)
    if not scaled:
        near = torch.cdist(used.double(), hidden.double()).argmin(1)
    rows = hidden[near]
    scale = (used * rows).sum(1, keepdim=True) / (rows * rows).sum(1, keepdim=True)
    return rows, scale if scaled else torch.ones_like(scale)


def _apart(one: torch.Tensor, other: torch.Tensor) -> float:
    largest = float(other.abs().max())
    return float((one - other).abs().max()) / (largest or 1.0)
