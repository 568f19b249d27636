"""From a verified checkpoint to gated imitations of its MLPs, whatever these are made of.

What `provenance.measure` is to activations and weights, this is to the functions that MLPs compute: a model
is loaded once, the MLP of every block is distilled once, and the proxies are kept as tensors and their fits
beside them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from provenance._quiet import quiet
from provenance.errors import ArchitectureError, DegenerateError
from provenance.loading import load_model
from provenance.measure import Shape
from provenance.plain import find_block_mlps
from provenance.statistics.generalized import Fit, Proxy, distil

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from provenance.plain import BlockMLPs
    from provenance.sources import Checkpoint
    from provenance.vocabulary import DistillSettings

PROXY_VERSION = 1
"""Raised whenever the same model, settings and seed would give other proxies in the store."""

PROXIES, FITS = "proxies.safetensors", "fits.json"
MATRICES = ("gate", "up", "down")


@dataclass(frozen=True)
class Imitation:
    """How a model is imitated, and who is told: ``on_load`` once, ``on_progress`` block by block."""

    settings: DistillSettings
    seed: int
    device: str
    on_load: Callable[[], None]
    on_progress: Callable[[int, int], None]


def distil_to(folder: Path, checkpoint: Checkpoint, how: Imitation) -> None:
    """Load a model, imitate the MLP of every block, leave proxies and fits in ``folder``.

    A block whose MLP cannot be imitated at all is kept with the reason. The model is let go before
    this returns. Errors name the model.
    """
    how.on_load()
    model = load_model(checkpoint, how.device, checkpoint.spec.dtype)
    try:
        with quiet():
            found = find_block_mlps(model)
    except ArchitectureError as error:
        raise ArchitectureError(f"{checkpoint.source}: {error}") from None
    proxies, reasons = _distil_all(found, how)
    tensors = {
        f"{index}.{name}": getattr(proxy, name).cpu().contiguous()
        for index, proxy in proxies.items()
        for name in MATRICES
    }
    save_file(tensors, folder / PROXIES)
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    described = {
        "shape": asdict(_shape(found, dtype)),
        "seed": how.seed,
        "fits": {index: asdict(proxy.fit) for index, proxy in proxies.items()},
        "reasons": reasons,
    }
    (folder / FITS).write_text(json.dumps(described))


def _distil_all(found: BlockMLPs, how: Imitation) -> tuple[dict[int, Proxy], dict[int, str]]:
    """Proxies of the blocks that have one, and why the others have none."""
    proxies: dict[int, Proxy] = {}
    reasons: dict[int, str] = {}
    for done, (index, mlp) in enumerate(found.mlps.items()):
        how.on_progress(done, len(found.mlps))
        try:
            proxies[index] = distil(mlp, mlp.hidden_size, how.settings, how.seed, device=how.device)
        except DegenerateError as error:
            reasons[index] = str(error)
    how.on_progress(len(found.mlps), len(found.mlps))
    return proxies, reasons


def _shape(found: BlockMLPs, dtype: str) -> Shape:
    units = {index: mlp.units for index, mlp in found.mlps.items()}
    return Shape(found.architecture, found.blocks, units, found.skipped, dtype)


class ProxyUnits:
    """A model's MLPs by their proxies in the store; satisfies `provenance.blocks.Units`."""

    def __init__(self, folder: Path, role: str, device: str) -> None:
        described = json.loads((folder / FITS).read_text())
        shape = described["shape"]
        for part in ("units", "skipped"):
            shape[part] = _by_index(shape[part])
        self.shape = Shape(**shape)
        self._fits = {i: Fit(**fit) for i, fit in _by_index(described["fits"]).items()}
        self._reasons = _by_index(described["reasons"])
        self._seed = int(described["seed"])
        self._folder, self._role, self._device = folder, role, device

    @property
    def units(self) -> Mapping[int, int]:
        """Width of the model's own MLP by block index."""
        return self.shape.units

    def block(self, index: int) -> Proxy:
        """One block's proxy.

        Raises
        ------
        DegenerateError
            If its MLP could not be imitated at all.
        """
        if index in self._reasons:
            raise DegenerateError(f"the {self._role}: {self._reasons[index]}")
        with safe_open(self._folder / PROXIES, framework="pt") as file:
            gate, up, down = (file.get_tensor(f"{index}.{name}") for name in MATRICES)
        place = torch.device(self._device)
        return Proxy(gate.to(place), up.to(place), down.to(place), self._fits[index], self._seed)


def _by_index(named: Mapping[str, Any]) -> dict[int, Any]:
    return {int(index): value for index, value in named.items()}
