"""Finds the gated MLP of every transformer block by structure, not by the names of modules.

Three linear maps of one parent module make a gated MLP when data flows as ``down(act(gate(x)) * up(x))``.
Shapes propose candidates; an intervention decides: multiplying the output of *up* by -2 multiplies the
input of *down* by -2, exactly in floating point; doing so to *gate* does not, whether its activation is
odd (tanh) or homogeneous (ReLU). So gate and up are told apart whatever they are called, and a plain MLP
with a matrix called ``up_proj`` is not mistaken for a gated one.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import torch

from provenance.errors import ArchitectureError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import nn

PROBES = 8
FACTOR = -2.0


@dataclass(frozen=True)
class GatedMLP:
    """Paths of the three projections of one block's MLP, ``model.get_submodule`` order of names."""

    block: int
    gate: str
    up: str
    down: str
    units: int


@dataclass(frozen=True)
class Layout:
    """The gated MLPs of a model. ``skipped`` says what the other blocks hold, by block index."""

    architecture: str
    blocks: int
    mlps: tuple[GatedMLP, ...]
    skipped: Mapping[int, str]


@dataclass(frozen=True)
class _Site:
    """A parent module inside a block: ``path`` is its dotted name, ``blocks`` its ModuleList's."""

    blocks: str
    index: int
    path: str


def find_mlps(model: nn.Module) -> Layout:
    """Find the gated MLPs of a decoder.

    Parameters
    ----------
    model : torch.nn.Module
        On any device, in any floating dtype; left as it was. On the meta device, where there are
        no numbers to follow, each kind of MLP is tried once with random weights.

    Raises
    ------
    ArchitectureError
        If no block has a gated MLP with separate gate, up and down; the message names what it has.
    """
    architecture = type(model).__name__
    modules = dict(model.named_modules())
    found = _best_stack(_all_mlps(model))
    if found is None:
        raise ArchitectureError(
            f"{architecture}: no block has a gated MLP with separate gate, up and down projections "
            f"({_contents(modules)}); `match` is not defined on it: use `statistic: generalized`"
        )
    stack, mlps = found
    blocks = modules[stack]
    count = len(list(blocks.children()))
    have = {mlp.block for mlp in mlps}
    skipped = {
        index: _describe(block)
        for index, block in enumerate(blocks.children())
        if index not in have
    }
    return Layout(architecture, count, tuple(sorted(mlps, key=lambda m: m.block)), skipped)


def _all_mlps(model: nn.Module) -> dict[str, list[GatedMLP]]:
    """Every gated MLP, by the path of the ModuleList whose block it lies in."""
    stacks: dict[str, list[GatedMLP]] = defaultdict(list)
    roles: dict[type, tuple[str, str, str]] = {}
    tried: dict[str, tuple[str, str, str] | None] = {}
    for site, parent in _sites(model):
        names = _roles_on_meta(parent, tried) if _is_meta(parent) else _roles(parent)
        names = names or _inherited(parent, roles)
        if names is None:
            continue
        roles.setdefault(type(parent), names)
        gate, up, down = (f"{site.path}.{name}" for name in names)
        units = int(parent.get_submodule(names[0]).out_features)  # type: ignore[arg-type]
        stacks[site.blocks].append(GatedMLP(site.index, gate, up, down, units))
    return stacks


def _best_stack(stacks: Mapping[str, list[GatedMLP]]) -> tuple[str, list[GatedMLP]] | None:
    """The stack with most hidden units; one block with two MLPs is an architecture of its own."""
    simple = {
        path: mlps for path, mlps in stacks.items() if len({mlp.block for mlp in mlps}) == len(mlps)
    }
    if not simple:
        return None
    path = max(simple, key=lambda key: sum(mlp.units for mlp in simple[key]))
    return path, simple[path]


def _sites(model: nn.Module) -> Iterator[tuple[_Site, nn.Module]]:
    """Modules inside numbered blocks that have at least three linear children."""
    lists = [name for name, module in model.named_modules() if _is_list(module)]
    for name, module in model.named_modules():
        stack = next((path for path in lists if name.startswith(path + ".")), None)
        if stack is None or len(_linears(module)) < 3:
            continue
        index = name.removeprefix(stack + ".").split(".")[0]
        if index.isdigit():
            yield _Site(stack, int(index), name), module


def _is_list(module: nn.Module) -> bool:
    return isinstance(module, torch.nn.ModuleList)


def _linears(module: nn.Module) -> dict[str, nn.Module]:
    return {
        name: child
        for name, child in module.named_children()
        if hasattr(child, "in_features") and hasattr(child, "out_features")
    }


def _roles(parent: nn.Module) -> tuple[str, str, str] | None:
    """Names of (gate, up, down) among the parent's children, decided by intervention."""
    linears = _linears(parent)
    for first, second in combinations(linears, 2):
        shape = _shape(linears[first])
        if _shape(linears[second]) != shape:
            continue
        for down in linears.keys() - {first, second}:
            if _shape(linears[down]) != shape[::-1]:
                continue
            order = _gate_and_up(parent, first, second, down)
            if order is not None and _is_token_wise(parent, down):
                return (*order, down)
    return None


def _is_meta(parent: nn.Module) -> bool:
    return any(weight.is_meta for weight in parent.parameters())


def _roles_on_meta(
    parent: nn.Module, tried: dict[str, tuple[str, str, str] | None]
) -> tuple[str, str, str] | None:
    """`_roles` of a copy with random weights, once for all modules that print alike."""
    kind = repr(parent)
    if kind not in tried:
        real = copy.deepcopy(parent).to_empty(device="cpu").float()
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for tensor in (*real.parameters(), *real.buffers()):
                if tensor.is_floating_point():
                    tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.05)
        tried[kind] = _roles(real)
    return tried[kind]


def _shape(linear: nn.Module) -> tuple[int, int]:
    return int(linear.in_features), int(linear.out_features)  # type: ignore[arg-type]


def _inherited(
    parent: nn.Module, roles: Mapping[type, tuple[str, str, str]]
) -> tuple[str, str, str] | None:
    """Roles of the same class elsewhere: an MLP pruned to zero answers no intervention."""
    names = roles.get(type(parent))
    return names if names is not None and set(names) <= _linears(parent).keys() else None


def _gate_and_up(parent: nn.Module, first: str, second: str, down: str) -> tuple[str, str] | None:
    """(gate, up) where the two feed a product that enters ``down``; None where they do not."""
    plain = _input_of(parent, down, scaled=None)
    if plain is None or not bool(plain.any()):
        return None
    linear = {}
    for name in (first, second):
        moved = _input_of(parent, down, scaled=name)
        if moved is None or moved.shape != plain.shape or torch.equal(moved, plain):
            return None
        linear[name] = torch.equal(moved, FACTOR * plain)
    if linear[second]:
        return first, second
    return (second, first) if linear[first] else None


def _is_token_wise(parent: nn.Module, down: str) -> bool:
    """Whether a token's hidden units depend on that token alone; in attention they do not.

    The output of attention is linear in its values too, so that key, value and output projections
    of one shape would pass for gate, up and down.
    """
    plain = _input_of(parent, down, scaled=None)
    others = _input_of(parent, down, scaled=None, last_alone=True)
    if plain is None or others is None:
        return False
    return torch.allclose(plain[..., -1, :], others[..., -1, :], rtol=1e-3, atol=1e-5)


def _input_of(
    parent: nn.Module, down: str, *, scaled: str | None, last_alone: bool = False
) -> torch.Tensor | None:
    """What reaches ``down`` when the parent runs on a fixed random batch, one output scaled."""
    probe = parent.get_submodule(down)
    weight = next(probe.parameters())
    width = _shape(probe)[1]
    noise = torch.randn(1, PROBES, width, generator=torch.Generator().manual_seed(0))
    if last_alone:
        noise[:, :-1] = noise[:, :-1].flip(1) * FACTOR  # other tokens before the same last one
    seen: list[torch.Tensor] = []
    with ExitStack() as stack, torch.inference_mode():
        watch = probe.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
        stack.callback(watch.remove)
        if scaled is not None:
            scale = parent.get_submodule(scaled).register_forward_hook(
                lambda *call: call[2] * FACTOR
            )
            stack.callback(scale.remove)
        try:
            parent(noise.to(weight.device, _activation_dtype(weight)))
        except (TypeError, ValueError, RuntimeError, AttributeError, IndexError, KeyError):
            return None  # not a map of hidden states alone: attention, a router, a state space
    return seen[0] if len(seen) == 1 else None


def _activation_dtype(weight: torch.Tensor) -> torch.dtype:
    return weight.dtype if weight.is_floating_point() else torch.get_default_dtype()


def _describe(block: nn.Module) -> str:
    """A block in a few words: its class and the classes of what it holds."""
    parts = dict.fromkeys(type(child).__name__ for child in block.children())
    return f"{type(block).__name__}: {', '.join(parts)}"


def _contents(modules: Mapping[str, nn.Module]) -> str:
    lists = [m for m in modules.values() if _is_list(m) and len(list(m.children())) > 0]
    blocks = [next(m.children()) for m in lists]
    kinds = dict.fromkeys(_describe(block) for block in blocks if list(block.children()))
    return "its blocks are " + "; ".join(list(kinds)[:3]) if kinds else "it has no list of blocks"
