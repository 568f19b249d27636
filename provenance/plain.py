"""Finds the MLP of every transformer block, gated or plain, as a map from hidden states to hidden states.

`match` needs a gate and an up projection; GPT-2, GPT-NeoX, OPT, Phi, Falcon or Bloom have neither. What
every block has is a map that works on each token alone. Here it is found where it is plain, which is
``second(act(first(x)))``: two linear maps of transposed shapes with an elementwise nonlinearity between.

Shapes propose candidates; an intervention decides. In one forward pass the output of every linear map is
replaced by values drawn from a palette of six, and what reaches every other is recorded. Only an
elementwise function of *first* alone gives one value a colour: attention mixes tokens, a norm mixes
units, a gate multiplies by another map's colours, and a low-rank pair has nothing between.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Literal

import torch

from provenance.architecture import find_mlps
from provenance.errors import ArchitectureError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import nn

    from provenance.architecture import GatedMLP, Layout

TOKENS = 6
PALETTE = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0)


@dataclass(frozen=True)
class PlainMLP:
    """Paths of one block's two linear maps and of the activation between them.

    ``parent`` is the innermost module that holds all; ``activation`` is None where it is no module,
    and then the parent can be called on hidden states alone.
    """

    block: int
    first: str
    activation: str | None
    second: str
    parent: str
    hidden: int
    units: int


@dataclass(frozen=True)
class PlainLayout:
    """The plain MLPs of a model. ``skipped`` says what the other blocks hold, by block index."""

    architecture: str
    blocks: int
    mlps: tuple[PlainMLP, ...]
    skipped: Mapping[int, str]


@dataclass(frozen=True)
class BlockMLP:
    """One block's MLP: call it on hidden states, (tokens, hidden_size), and it answers likewise.

    Inputs are moved to the model's device and dtype; the answer is float32 on the input's device.
    ``units`` counts its hidden units.
    """

    block: int
    kind: Literal["gated", "plain"]
    hidden_size: int
    units: int
    modules: tuple[nn.Module, ...]

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return what the MLP makes of each token alone."""
        weight = next(w for m in self.modules for w in m.parameters())
        dtype = weight.dtype if weight.is_floating_point() else torch.get_default_dtype()
        values = hidden.to(weight.device, dtype).unsqueeze(0)  # (1, tokens, hidden)
        with torch.no_grad(), _evaluating(self.modules):
            for module in self.modules:
                values = module(values)
        return values.reshape(hidden.shape).to(hidden.device, torch.float32)


@dataclass(frozen=True)
class BlockMLPs:
    """The MLPs of a model, by block index; ``skipped`` says what the other blocks hold."""

    architecture: str
    blocks: int
    mlps: Mapping[int, BlockMLP]
    skipped: Mapping[int, str]


def block_callables(model: nn.Module) -> dict[int, BlockMLP]:
    """The MLP of every block that has one, gated or plain, by block index; see `find_block_mlps`."""
    return dict(find_block_mlps(model).mlps)


def find_block_mlps(model: nn.Module) -> BlockMLPs:
    """Find the MLP of every block, gated or plain.

    Raises
    ------
    ArchitectureError
        If no block has an MLP of either kind; the message names what it has.
    """
    failure: ArchitectureError | None = None
    found: dict[int, BlockMLP] = {}
    layouts: list[Layout | PlainLayout] = []
    try:
        plain = find_plain_mlps(model)
        found |= {mlp.block: _plain(model, mlp) for mlp in plain.mlps}
        layouts.append(plain)
    except ArchitectureError as error:
        failure = error
    with suppress(ArchitectureError):  # its words speak of gated MLPs alone
        gated = find_mlps(model)
        calls = (_gated(model, mlp) for mlp in gated.mlps if mlp.block not in found)
        found |= {mlp.block: mlp for mlp in calls if _is_token_wise(mlp)}
        layouts.append(gated)
    if not found:
        assert failure is not None
        raise failure
    return _block_mlps(found, layouts)


def _block_mlps(
    found: Mapping[int, BlockMLP], layouts: Sequence[Layout | PlainLayout]
) -> BlockMLPs:
    first = layouts[0]
    kinds = {index: what for layout in layouts for index, what in layout.skipped.items()}
    skipped = {
        index: kinds.get(index, "an MLP that cannot be called by itself")
        for index in range(first.blocks)
        if index not in found
    }
    return BlockMLPs(first.architecture, first.blocks, dict(sorted(found.items())), skipped)


def _gated(model: nn.Module, mlp: GatedMLP) -> BlockMLP:
    parent = model.get_submodule(mlp.gate.rpartition(".")[0])
    hidden = int(model.get_submodule(mlp.down).out_features)  # type: ignore[arg-type]
    return BlockMLP(mlp.block, "gated", hidden, mlp.units, (parent,))


def _plain(model: nn.Module, mlp: PlainMLP) -> BlockMLP:
    paths = (mlp.first, mlp.activation, mlp.second) if mlp.activation else (mlp.parent,)
    modules = tuple(model.get_submodule(path) for path in paths)
    return BlockMLP(mlp.block, "plain", mlp.hidden, mlp.units, modules)


def _is_token_wise(mlp: BlockMLP) -> bool:
    """Whether one token's answer depends on that token alone; attention's does not."""
    noise = torch.randn(TOKENS, mlp.hidden_size, generator=torch.Generator().manual_seed(0))
    try:
        together, alone = mlp(noise), mlp(noise[-1:])
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError, KeyError):
        return False
    return torch.allclose(together[-1:], alone, rtol=1e-2, atol=1e-2 * float(together.std()))


def find_plain_mlps(model: nn.Module) -> PlainLayout:
    """Find the plain MLPs of a decoder.

    Parameters
    ----------
    model : torch.nn.Module
        A causal language model that takes ``input_ids``, with its weights; left as it was.

    Raises
    ------
    ArchitectureError
        If no block has a plain MLP, or a block has several; the message names what it has.
    """
    architecture = type(model).__name__
    pairs = _pairs(model, _observe(model))
    stacks: dict[str, dict[int, list[PlainMLP]]] = {}
    for stack, mlp in pairs:
        stacks.setdefault(stack, {}).setdefault(mlp.block, []).append(mlp)
    single = {
        stack: [mlps[0] for mlps in blocks.values() if len(mlps) == 1]
        for stack, blocks in stacks.items()
    }
    best = max(single, key=lambda stack: sum(m.units for m in single[stack]), default=None)
    if best is None or not single[best]:
        raise ArchitectureError(
            f"{architecture}: no block has one plain MLP, two linear maps with an elementwise "
            f"activation between ({_contents(model)}); `generalized` needs one, or a gated MLP"
        )
    blocks = list(model.get_submodule(best).children())
    mlps = sorted(single[best], key=lambda mlp: mlp.block)
    have = {mlp.block for mlp in mlps}
    skipped = {i: _describe(block) for i, block in enumerate(blocks) if i not in have}
    return PlainLayout(architecture, len(blocks), tuple(mlps), skipped)


@dataclass
class _Seen:
    """What one module was given and what it gave, in the pass with coloured outputs."""

    entered: torch.Tensor
    left: torch.Tensor
    colours: torch.Tensor | None = None


class _Observer:
    """Hooks that colour the output of every linear map, and keep what each module is given and gives."""

    def __init__(self) -> None:
        self.seen: dict[str, list[_Seen]] = {}
        self._generator = torch.Generator().manual_seed(0)

    def before(self, name: str) -> Callable[..., None]:
        """A pre-hook; what enters is cloned, since an activation may work in place."""

        def hook(_module: nn.Module, args: tuple[object, ...]) -> None:
            given = args[0] if args else None
            if isinstance(given, torch.Tensor) and given.is_floating_point():
                self.seen.setdefault(name, []).append(_Seen(given.clone(), given))

        return hook

    def after(self, name: str) -> Callable[..., torch.Tensor | None]:
        """A hook that replaces what a linear map gives."""

        def hook(module: nn.Module, _args: object, output: object) -> torch.Tensor | None:
            calls = self.seen.get(name)
            if not calls or not isinstance(output, torch.Tensor):
                self.seen.pop(name, None)  # not a map of one tensor to one
                return None
            call = calls[-1]
            call.left = output.clone()
            if not _is_linear(module, call.entered.shape[-1], output.shape[-1]):
                return None
            call.colours = torch.randint(len(PALETTE), output.shape, generator=self._generator)
            call.left = torch.tensor(PALETTE)[call.colours].to(output.device, output.dtype)
            return call.left.clone()

        return hook


def _observe(model: nn.Module) -> dict[str, list[_Seen]]:
    """Run the model once on a few tokens, every linear map's output replaced by random colours."""
    observer = _Observer()
    with ExitStack() as stack, torch.no_grad(), _evaluating([model]):
        for name, module in model.named_modules():
            if _place(model, name) is not None:
                before, after = observer.before(name), observer.after(name)
                stack.callback(module.register_forward_pre_hook(before).remove)
                stack.callback(module.register_forward_hook(after).remove)
        ids = torch.arange(TOKENS).unsqueeze(0)
        try:
            model(input_ids=ids.to(next(model.parameters()).device), use_cache=False)
        except (TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
            reason = str(error).partition("\n")[0]
            raise ArchitectureError(
                f"{type(model).__name__}: it does not run on token ids alone: {reason}"
            ) from None
    return observer.seen


def _pairs(model: nn.Module, seen: Mapping[str, list[_Seen]]) -> Iterator[tuple[str, PlainMLP]]:
    """Every pair of linear maps with an elementwise nonlinearity between, and its stack of blocks."""
    linears = {name: calls[-1] for name, calls in seen.items() if calls[-1].colours is not None}
    places = {name: _place(model, name) for name in linears}
    for (first, source), (second, target) in permutations(linears.items(), 2):
        place = places[first]
        if place is None or places[second] != place:
            continue
        hidden, units = source.entered.shape[-1], source.left.shape[-1]
        if target.left.shape[-1] != hidden or not _is_elementwise(source, target.entered):
            continue
        activation = _activation(seen, source, target)
        parent = _common(first, second)
        mlp = PlainMLP(place[1], first, activation, second, parent, hidden, units)
        if activation is not None or _runs_alone(model, mlp):
            yield place[0], mlp


def _is_elementwise(source: _Seen, entered: torch.Tensor) -> bool:
    """Whether ``entered`` holds one value a colour of ``source``, and not in proportion to it."""
    assert source.colours is not None
    if entered.numel() != source.colours.numel() or entered.shape[-1] != source.colours.shape[-1]:
        return False
    values = entered.detach().reshape(-1).double().cpu()
    colours = source.colours.reshape(-1)
    tolerance = 16 * torch.finfo(entered.dtype).eps * float(values.abs().max())
    means = []
    for colour in range(len(PALETTE)):
        of_colour = values[colours == colour]
        if not len(of_colour) or float(of_colour.max() - of_colour.min()) > tolerance:
            return False
        means.append(float(of_colour.mean()))
    slopes = [mean / value for mean, value in zip(means, PALETTE, strict=True)]
    return max(slopes) - min(slopes) > 0.01 * max(map(abs, slopes))


def _activation(seen: Mapping[str, list[_Seen]], source: _Seen, target: _Seen) -> str | None:
    """The module that was given what ``source`` gave, and gave what ``target`` was given."""
    for name, calls in seen.items():
        for call in calls:
            if (
                call.colours is None
                and _same(call.entered, source.left)
                and _same(call.left, target.entered)
            ):
                return name
    return None


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.numel() == b.numel() and torch.equal(a.reshape(-1), b.reshape(-1))


def _runs_alone(model: nn.Module, mlp: PlainMLP) -> bool:
    """Whether the parent, called on hidden states alone, answers what ``second`` answers."""
    second = model.get_submodule(mlp.second)
    weight = next(second.parameters())
    noise = torch.randn(1, TOKENS, mlp.hidden, generator=torch.Generator().manual_seed(0))
    answers: list[torch.Tensor] = []
    parent = model.get_submodule(mlp.parent)
    with ExitStack() as stack, torch.no_grad(), _evaluating([parent]):
        watch = second.register_forward_hook(lambda *call: answers.append(call[2].clone()))
        stack.callback(watch.remove)
        try:
            output = parent(noise.to(weight.device, weight.dtype))
        except (TypeError, ValueError, RuntimeError, AttributeError, IndexError, KeyError):
            return False
    return isinstance(output, torch.Tensor) and len(answers) == 1 and _same(output, answers[0])


def _is_linear(module: nn.Module, inputs: int, outputs: int) -> bool:
    """A leaf with one matrix of the shape of what it does, either way round (Linear, Conv1D)."""
    weight = getattr(module, "weight", None)
    leaf = next(module.children(), None) is None
    return (
        leaf
        and isinstance(weight, torch.Tensor)
        and tuple(weight.shape) in {(inputs, outputs), (outputs, inputs)}
    )


def _place(model: nn.Module, name: str) -> tuple[str, int] | None:
    """(path of the outermost ModuleList around a module, index in it); None outside of any."""
    parts = name.split(".")
    for depth in range(1, len(parts)):
        path = ".".join(parts[:depth])
        if isinstance(model.get_submodule(path), torch.nn.ModuleList) and parts[depth].isdigit():
            return path, int(parts[depth])
    return None


def _common(first: str, second: str) -> str:
    shared = []
    for a, b in zip(first.split("."), second.split("."), strict=False):
        if a != b:
            break
        shared.append(a)
    return ".".join(shared)


@contextmanager
def _evaluating(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Dropout off inside, every module's mode as it was afterwards."""
    training = [inner for module in modules for inner in module.modules() if inner.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _contents(model: nn.Module) -> str:
    stacks = [m for m in model.modules() if isinstance(m, torch.nn.ModuleList) and len(m)]
    kinds = dict.fromkeys(_describe(stack[0]) for stack in stacks if list(stack[0].children()))
    return "its blocks are " + "; ".join(list(kinds)[:3]) if kinds else "it has no list of blocks"


def _describe(block: nn.Module) -> str:
    """A block in a few words: its class and the classes of what it holds."""
    parts = dict.fromkeys(type(child).__name__ for child in block.children())
    return f"{type(block).__name__}: {', '.join(parts)}"
