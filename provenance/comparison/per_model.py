"""What is computed of one model alone, once for all of its pairs, and kept in the store."""

from __future__ import annotations

import gc
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from provenance.vocabulary import Stage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.inputs.tokens import Inputs
    from provenance.statistics import Basis
    from provenance.store.store import JSON, Entry, Kind, Store
    from provenance.vocabulary import DistillSettings, Memory, Role


@dataclass(frozen=True)
class PerModel:
    """Makes and finds entries of single models; ``device`` is what was asked for."""

    store: Store
    device: str
    tell: Callable[[Stage], None]
    memory: Memory

    def of_pair(
        self,
        models: tuple[Checkpoint, Checkpoint],
        inputs: Inputs | None,
        settings: DistillSettings | None,
        seed: int,
        *,
        gated: bool,
    ) -> dict[Basis, tuple[Entry, Entry]]:
        """What two models, candidate and reference, are compared on, by the basis that it serves.

        Activations where there are ``inputs``, and imitations where there are ``settings``. Models
        without gates are not run where a statistic is ``gated``.
        """
        candidate, reference = models
        made: dict[Basis, tuple[Entry, Entry]] = {}
        if inputs is not None:
            ours, theirs = (self.activations(model, inputs, gated=gated) for model in models)
            made["activations"] = (ours, theirs)
        if settings is not None:
            made["functions"] = (
                self.imitations(candidate, settings, seed, "candidate"),
                self.imitations(reference, settings, seed, "reference"),
            )
        return made

    def imitations(
        self,
        checkpoint: Checkpoint,
        settings: DistillSettings,
        seed: int,
        role: Role,
    ) -> Entry:
        """Proxies of a model in one role; those of the two roles start from different seeds."""
        from provenance.statistics.generalized import seeds_of

        first, second = seeds_of(seed)
        return self.proxies(checkpoint, settings, first if role == "candidate" else second)

    def activations(self, checkpoint: Checkpoint, inputs: Inputs, *, gated: bool) -> Entry:
        """A model's activations on these inputs: one load and one forward pass, ever."""
        from provenance.capture.units import CAPTURE_VERSION, Capturing, capture_to

        def run(folder: Path, device: str) -> None:
            how = Capturing(
                device,
                self.memory,
                lambda: self.tell(Stage("load", checkpoint.source)),
                lambda i, n: self.tell(Stage("capture", checkpoint.source, i, n)),
                gated,
            )
            capture_to(folder, checkpoint, inputs, how)

        fields: dict[str, JSON] = {"version": CAPTURE_VERSION, "inputs": inputs.digest}
        return self._entry("activations", checkpoint, fields, run)

    def proxies(self, checkpoint: Checkpoint, settings: DistillSettings, seed: int) -> Entry:
        """Gated imitations of a model's MLPs that start from this seed: one load, ever."""
        from provenance.capture.proxies import PROXY_VERSION, Imitation, distil_to

        def run(folder: Path, device: str) -> None:
            how = Imitation(
                settings,
                seed,
                device,
                lambda: self.tell(Stage("load", checkpoint.source)),
                lambda i, n: self.tell(Stage("distil", checkpoint.source, i, n)),
            )
            distil_to(folder, checkpoint, how)

        made_by = asdict(settings)
        del made_by["least_fit"]  # judges a proxy and does not make it
        fields: dict[str, JSON] = {"version": PROXY_VERSION, "settings": made_by, "seed": seed}
        return self._entry("proxies", checkpoint, fields, run)

    def _entry(
        self,
        kind: Kind,
        checkpoint: Checkpoint,
        fields: dict[str, JSON],
        run: Callable[[Path, str], None],
    ) -> Entry:
        """An entry under its fields and what says which model ran as what, made on a leased device."""
        from provenance.loading.devices import lease

        def build(folder: Path) -> None:
            with lease(self.device, self.store.root / "locks") as device:
                run(folder, device)
                if (
                    device != "cpu"
                ):  # a model is free of cycles, but a GPU has no room for a mistake
                    gc.collect()

        fields |= {
            "model": checkpoint.digest,
            "dtype": checkpoint.spec.dtype,
            "device": self.device,
        }
        return self.store.get_or_create(
            kind, fields, build, lambda: self.tell(Stage("wait", checkpoint.source))
        )
