"""From a verified checkpoint to gated imitations of its MLPs, whatever these are made of.

A model is loaded once and the MLP of every block is distilled once. The proxies are kept as tensors, with
how well they fit beside them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch
from pydantic import TypeAdapter
from safetensors import safe_open
from safetensors.torch import save_file

from provenance._quiet import quiet
from provenance.architecture.functions import find_functions, functions_of_files
from provenance.capture.layout import find_layout
from provenance.capture.units import Shape
from provenance.errors import ArchitectureError, DegenerateError
from provenance.loading.families import why_not_run
from provenance.loading.model import load_model, other_heads
from provenance.loading.parameters import ModelTensors
from provenance.statistics._activations import known_activation
from provenance.statistics.generalized import Fit, Proxy, distil

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from provenance.architecture.functions import MLPFunctions
    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.vocabulary import DistillSettings

PROXY_VERSION = 2
"""Raised whenever the same model, settings and seed would give other proxies in the store."""

PROXIES, FITS = "proxies.safetensors", "fits.json"
MATRICES = ("gate", "up", "down")


@dataclass(frozen=True)
class Imitation:
    """How a model is imitated; ``on_load`` is called once, ``on_progress`` for each MLP."""

    settings: DistillSettings
    seed: int
    device: str
    on_load: Callable[[], None]
    on_progress: Callable[[int, int], None]


def distil_to(folder: Path, checkpoint: Checkpoint, how: Imitation) -> None:
    """Load a model, imitate the MLP of every block, leave proxies and fits in ``folder``.

    Of a model of which no code may run, or none is known, the matrices are read where its layout says.

    A block whose MLP cannot be imitated at all is kept with the reason. The model is freed before
    this returns. Errors name the model.
    """
    how.on_load()
    try:
        if why_not_run(checkpoint) is not None:
            functions, dtype, heads = _of_files(checkpoint)
        else:
            functions, dtype, heads = _of_model(checkpoint, how.device)
    except ArchitectureError as error:
        raise ArchitectureError(f"{checkpoint.source}: {error}") from None
    proxies, reasons = _distil_all(functions, how)
    tensors = {
        f"{key}.{name}": getattr(proxy, name).cpu().contiguous()
        for key, proxy in proxies.items()
        for name in MATRICES
    }
    save_file(tensors, folder / PROXIES)
    described = {
        "shape": asdict(Shape.of(functions.trace, dtype, heads)),
        "seed": how.seed,
        "fits": {key: asdict(proxy.fit) for key, proxy in proxies.items()},
        "reasons": reasons,
    }
    (folder / FITS).write_text(json.dumps(described))


def _of_model(checkpoint: Checkpoint, device: str) -> tuple[MLPFunctions, str, tuple[str, ...]]:
    """The MLPs of a model that is loaded, its type, and its heads."""
    model = load_model(checkpoint, device, checkpoint.spec.dtype, head=False)
    with quiet():
        functions = find_functions(model)
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    return functions, dtype, other_heads(checkpoint, model)


def _of_files(checkpoint: Checkpoint) -> tuple[MLPFunctions, str, tuple[str, ...]]:
    layout = find_layout(checkpoint)
    tensors = ModelTensors(checkpoint, stored=layout.stored)
    functions = functions_of_files(layout.trace, tensors.read, known_activation)
    return functions, "as stored", layout.heads


def _distil_all(functions: MLPFunctions, how: Imitation) -> tuple[dict[str, Proxy], dict[str, str]]:
    """Proxies of the MLPs that have one, and why the others have none, by `_key`."""
    proxies: dict[str, Proxy] = {}
    reasons = {_key(*place): reason for place, reason in functions.reasons.items()}
    for done, (place, mlp) in enumerate(functions.mlps.items()):
        how.on_progress(done, len(functions.mlps))
        try:
            proxies[_key(*place)] = distil(
                mlp, mlp.hidden_size, how.settings, how.seed, device=how.device
            )
        except DegenerateError as error:
            reasons[_key(*place)] = str(error)
    how.on_progress(len(functions.mlps), len(functions.mlps))
    return proxies, reasons


def _key(block: int, place: int) -> str:
    return f"{block}.{place}"


class ProxyUnits:
    """A model's MLPs by their proxies in the store; satisfies `provenance.comparison.sides.Units`."""

    def __init__(self, folder: Path, role: str, device: str) -> None:
        described = json.loads((folder / FITS).read_text())
        self.shape = TypeAdapter(Shape).validate_python(described["shape"])
        self._fits = {key: Fit(**fit) for key, fit in described["fits"].items()}
        self._reasons: dict[str, str] = described["reasons"]
        self._seed = int(described["seed"])
        self._folder, self._role, self._device = folder, role, device

    def block(self, index: int, place: int = 0) -> Proxy:
        """One MLP's proxy.

        Raises
        ------
        DegenerateError
            If its MLP could not be imitated at all.
        """
        key = _key(index, place)
        if key in self._reasons:
            raise DegenerateError(f"the {self._role}: {self._reasons[key]}")
        with safe_open(self._folder / PROXIES, framework="pt") as file:
            gate, up, down = (file.get_tensor(f"{key}.{name}") for name in MATRICES)
        device = torch.device(self._device)
        return Proxy(gate.to(device), up.to(device), down.to(device), self._fits[key], self._seed)
