"""How much of what a model does comes from the MLPs that are compared.

A copy can leave idle MLPs where a test looks, and do its work elsewhere: in mixers, in attention, in other
blocks. So two shares are measured on a short stretch of what the model is fed. ``share`` is of what its
blocks add to the residual stream, ``effect`` of what its blocks do to its predictions.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from provenance.architecture.records import projection_weight
from provenance.errors import one_line
from provenance.loading.devices import is_out_of_memory
from provenance.loading.streaming import changing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import nn

    from provenance.architecture.records import MLPRecord, Trace

COVERAGE_VERSION = 1
"""Raised whenever the same model and inputs would give another coverage, or rank, in the store."""

POSITIONS = 64
"""Most positions of a sequence that coverage is measured on."""

SEQUENCES = 2
"""Sequences that it is measured on, or one where memory is too small for two."""

PREDICTED = 32
"""Last positions of a sequence whose predictions are looked at: logits take most of the memory."""

LEAST_MOVED = 0.25
"""Whole blocks count as if they moved predictions by this share of their mean square, at the least."""


@dataclass(frozen=True)
class Coverage:
    """What share of a model's work the compared MLPs do, 0 to 1.

    Attributes
    ----------
    share : float or None
        Of what the blocks add to the residual stream: the smaller of two. One is the mean of ``blocks``,
        the other is taken over all blocks at once, so that blocks that do little count little.
    effect : float or None
        How far the predictions move where the compared MLPs put out their mean, against how far they move
        where whole blocks do, or a quarter of their own mean square if that is more. None where the model
        puts out no logits.
    blocks : tuple of float or None
        The share of each block, in order; 0 where it has no compared MLP, None where it changes nothing.
    reason : str or None
        Why nothing could be measured.
    """

    share: float | None
    effect: float | None
    blocks: tuple[float | None, ...] = ()
    reason: str | None = None


def measure_coverage(model: nn.Module, trace: Trace, sequence: Sequence[torch.Tensor]) -> Coverage:
    """Measure the coverage of a model's compared MLPs.

    A block is run twice on what it is fed, with and without the weights of their down projections. The
    difference is what they put in, whatever norm, router or factor comes behind them.

    Parameters
    ----------
    model : torch.nn.Module
        A causal language model; left as it was.
    sequence : sequence of Tensor
        Token ids as the model is fed them, each (length,) int64. The first ones are taken, and cut.
    """
    device = next(weight.device for weight in model.parameters() if not weight.is_meta)
    for number in (SEQUENCES, 1):
        try:
            with torch.inference_mode(), _few_predictions(model):
                return _measured(_Watch(model, trace), _stretch(sequence, number).to(device))
        # a family's code raises whatever a call that it does not expect leads to
        except Exception as error:  # noqa: BLE001
            reason = f"{type(error).__name__}: {one_line(error, 100)}"
            if not is_out_of_memory(error):
                break
        torch.cuda.empty_cache()
    return Coverage(None, None, (), reason)


def _measured(watch: _Watch, ids: torch.Tensor) -> Coverage:
    """The coverage on ids, (sequences, positions): three passes, a fourth in the first's second runs."""
    with watch.measuring():
        intact = watch.logits(ids)
    if not watch.saw_all():
        return Coverage(None, None, (), "not all of its blocks are called as modules")
    blocks = watch.shares()
    known = [share for share in blocks if share is not None]
    share = min(sum(known) / max(len(known), 1), watch.of_all())
    if intact is None:
        return Coverage(share, None, blocks)
    with watch.without_mlps():
        less = watch.logits(ids)
    with watch.without_blocks():
        least = watch.logits(ids)
    return Coverage(share, _effect(intact, less, least), blocks)


def _stretch(sequences: Sequence[torch.Tensor], number: int) -> torch.Tensor:
    """The first ids, (sequences, positions): beginnings, of one length."""
    length = min(POSITIONS, len(sequences[0]))
    return torch.stack([one[:length] for one in sequences[:number] if len(one) >= length])


@contextmanager
def _few_predictions(model: Any) -> Iterator[None]:
    """Let the head see the last positions of each sequence only."""

    def shorten(_module: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        hidden, *others = args
        return (hidden[:, -PREDICTED:], *others)

    head = model.get_output_embeddings()
    with ExitStack() as stack:
        if head is not None:
            stack.callback(head.register_forward_pre_hook(shorten).remove)
        yield


def _effect(
    intact: torch.Tensor, less: torch.Tensor | None, least: torch.Tensor | None
) -> float | None:
    if less is None or least is None:
        return None
    # blocks that hardly move the predictions are not where the model does its work
    whole = LEAST_MOVED * float(intact.square().sum(dtype=torch.float64))
    most = max(whole, float((intact - least).square().sum(dtype=torch.float64)))
    moved = float((intact - less).square().sum(dtype=torch.float64))
    return min(1.0, moved / most) if most > 0 else 0.0


class _Watch:
    """What the blocks of a model add to the residual stream, and what of it its compared MLPs do.

    Tensors of blocks are (positions, hidden), their means over the positions (hidden,).
    """

    def __init__(self, model: nn.Module, trace: Trace) -> None:
        self._model = model
        self._blocks = list(model.get_submodule(trace.stack).children()) if trace.stack else []
        self._records = {i: trace.of_block(i) for i in range(len(self._blocks))}
        self.added: dict[int, tuple[float, float, float]] = {}
        self._put_in: dict[int, torch.Tensor] = {}
        self._mean_change: dict[int, torch.Tensor] = {}
        self._ran = 0
        self._first: torch.Tensor | None = None
        self._last: torch.Tensor | None = None
        self._of_mlps: torch.Tensor | None = None

    def logits(self, ids: torch.Tensor) -> torch.Tensor | None:
        """Logits less their means over tokens and positions, (positions, vocabulary), if there are any."""
        output = self._model(input_ids=ids, use_cache=False)
        logits: torch.Tensor | None = getattr(output, "logits", None)
        if logits is None:
            return None
        rows = logits[:, -PREDICTED:].flatten(0, 1).float()
        rows -= rows.mean(dim=1, keepdim=True)
        rows -= rows.mean(dim=0)
        return rows

    def saw_all(self) -> bool:
        """Whether every block was called, once."""
        return len(self.added) == len(self._blocks) == self._ran

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Run each block a second time, without its compared MLPs."""
        with ExitStack() as stack:
            for index, block in enumerate(self._blocks):
                hook = block.register_forward_hook(self._measure(index), with_kwargs=True)
                stack.callback(hook.remove)
            yield

    def _measure(self, index: int) -> Any:
        def after(block: nn.Module, args: Any, kwargs: Mapping[str, Any], output: Any) -> None:
            fed = args[0] if args else kwargs["hidden_states"]
            put_out = _states(output)
            change = _rows(put_out) - _rows(fed)
            records = self._records[index]
            if records:
                with _silenced(self._model, records):
                    rest = _states(block.forward(*args, **kwargs))
                of_mlps = _rows(put_out) - _rows(rest)
            else:
                of_mlps = torch.zeros_like(change)
            self.added[index] = (
                _variance(of_mlps),
                _variance(change - of_mlps),
                _covariance(of_mlps, change),
            )
            self._ran += 1
            self._put_in[index], self._mean_change[index] = of_mlps.mean(dim=0), change.mean(dim=0)
            self._first = _rows(fed) if self._first is None else self._first
            self._last = _rows(put_out)
            sums = self._of_mlps
            self._of_mlps = of_mlps if sums is None else sums + of_mlps

        return after

    def shares(self) -> tuple[float | None, ...]:
        """Of each block, the share of the compared MLPs; see `Coverage`."""
        return tuple(_share(*self.added[index]) for index in range(len(self._blocks)))

    def of_all(self) -> float:
        """The share of all compared MLPs in all that the blocks have changed."""
        assert self._of_mlps is not None
        assert self._first is not None
        assert self._last is not None
        change = self._last - self._first
        rest = change - self._of_mlps
        share = _share(
            _variance(self._of_mlps), _variance(rest), _covariance(self._of_mlps, change)
        )
        return share or 0.0

    @contextmanager
    def without_mlps(self) -> Iterator[None]:
        """Let the compared MLPs put out their mean."""
        with ExitStack() as stack:
            for index, block in enumerate(self._blocks):
                if self._records[index]:
                    silence = _Silence(self._model, self._records[index], self._put_in[index])
                    stack.callback(silence.end)
                    stack.callback(block.register_forward_pre_hook(silence.begin).remove)
                    stack.callback(block.register_forward_hook(silence.add).remove)
            yield

    @contextmanager
    def without_blocks(self) -> Iterator[None]:
        """Let each block add its mean change alone."""
        with ExitStack() as stack:
            for index, block in enumerate(self._blocks):
                hook = block.register_forward_hook(self._replace(index), with_kwargs=True)
                stack.callback(hook.remove)
            yield

    def _replace(self, index: int) -> Any:
        def after(_block: nn.Module, args: Any, kwargs: Mapping[str, Any], output: Any) -> Any:
            fed = args[0] if args else kwargs["hidden_states"]
            return _with_states(output, fed + self._mean_change[index].to(fed.dtype))

        return after


class _Silence:
    """Takes the down weights of MLPs away while their block runs, and adds their mean to its output."""

    def __init__(self, model: nn.Module, records: Sequence[MLPRecord], mean: torch.Tensor) -> None:
        self._model, self._records, self._mean = model, records, mean
        self._stack = ExitStack()

    def begin(self, _block: nn.Module, _args: Any) -> None:
        self._stack.enter_context(_silenced(self._model, self._records))

    def add(self, _block: nn.Module, _args: Any, output: Any) -> Any:
        self.end()
        states = _states(output)
        return _with_states(output, states + self._mean.to(states.dtype))

    def end(self) -> None:
        self._stack.close()


@contextmanager
def _silenced(model: nn.Module, records: Sequence[MLPRecord]) -> Iterator[None]:
    """Put zeros in place of the down weights of MLPs, until the ``with`` ends."""

    def cleared(name: str, tensor: torch.Tensor) -> torch.Tensor:
        zeroed = tensor.clone()
        for record in records:
            if record.down.parameter == name:
                projection_weight(record.down, zeroed).zero_()
        return zeroed

    names = {record.down.parameter for record in records}
    with ExitStack() as stack:
        for name in names:
            parameter = model.get_parameter(name)
            if parameter.is_meta:  # read from disk whenever its module is called
                stack.enter_context(changing(model, name, cleared))
                continue
            kept = parameter.data
            parameter.data = cleared(name, kept)
            stack.callback(setattr, parameter, "data", kept)
        yield


def _states(output: Any) -> torch.Tensor:
    """The hidden states that a block puts out: alone, or the first of several."""
    states: torch.Tensor = output[0] if isinstance(output, tuple) else output
    return states


def _with_states(output: Any, states: torch.Tensor) -> Any:
    return (states, *output[1:]) if isinstance(output, tuple) else states


def _rows(states: torch.Tensor) -> torch.Tensor:
    return states.detach().reshape(-1, states.shape[-1]).float()


def _share(of_mlps: float, of_rest: float, common: float) -> float | None:
    """What the MLPs put in, of a change: at most their covariance with it, of its variance.

    What cancels out counts for neither: two large terms of which one undoes the other leave little of the
    change, and add much to the variance of both. None where nothing changes.
    """
    both = of_mlps + of_rest
    return None if both <= 0 else min(1.0, max(0.0, common) / both)


def _variance(rows: torch.Tensor) -> float:
    """The variance over positions, summed over hidden dimensions."""
    return _covariance(rows, rows)


def _covariance(rows: torch.Tensor, others: torch.Tensor) -> float:
    centred, other = rows - rows.mean(dim=0), others - others.mean(dim=0)
    return float((centred * other).mean(dim=0).sum(dtype=torch.float64))
