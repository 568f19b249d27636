"""What is computed of one model alone, once for all of its pairs, and kept in the store."""

from __future__ import annotations

import gc
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from provenance.vocabulary import Stage

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from provenance.capture.layout import Layout
    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.comparison.plan import Capture
    from provenance.inputs.encoded import Encoded
    from provenance.inputs.tokens import Inputs
    from provenance.store.store import JSON, Entry, Kind, Store
    from provenance.vocabulary import DistillSettings, Memory


@dataclass
class PerModel:
    """Makes and finds entries of single models; ``device`` is what was asked for."""

    store: Store
    device: str
    tell: Callable[[Stage], None]
    memory: Memory
    distillation: DistillSettings

    @cached_property
    def encoded(self) -> Encoded:
        """Ids of texts that were encoded in this run."""
        from provenance.inputs.encoded import Encoded

        return Encoded()

    def leased(self) -> AbstractContextManager[str]:
        """A device to run on, this process's own until the ``with`` ends."""
        from provenance.loading.devices import lease

        return lease(self.device, self.store.root / "locks")

    def layout(self, checkpoint: Checkpoint) -> Layout:
        """Where the MLPs of a model lie in its files: known, found before, or found now.

        Raises
        ------
        SourceError, ArchitectureError
            As `provenance.capture.layout.find_layout`.
        """
        from provenance.capture.layout import (
            LAYOUT,
            Layout,
            find_layout,
            known_layout,
            layout_fields,
        )

        known = known_layout(checkpoint)
        if known is not None:
            return known

        def find(folder: Path) -> None:
            (folder / LAYOUT).write_text(find_layout(checkpoint).to_json(), encoding="utf-8")

        entry = self.store.get_or_create("layouts", layout_fields(checkpoint), find)
        return Layout.from_json(entry.read_text(LAYOUT))

    def capture(
        self,
        capture: Capture,
        model: Checkpoint,
        partner: Checkpoint | None,
        inputs: Inputs | None = None,
    ) -> Entry:
        """What a comparison needs of one model.

        ``partner`` is the checkpoint of the capture's partner, if it has one. ``inputs`` are the model's
        own, where they have been chosen already.
        """
        if capture.role is None:
            if inputs is None:
                inputs = self.encoded.for_one(capture.inputs, model, partner, capture.vocabulary)
            return self.activations(model, inputs, gated=capture.gated)
        from provenance.statistics.generalized import seeds_of

        first, second = seeds_of(capture.inputs.seed)
        seed = first if capture.role == "candidate" else second
        return self.proxies(model, self.distillation, seed)

    def activations(self, checkpoint: Checkpoint, inputs: Inputs, *, gated: bool) -> Entry:
        """A model's activations on these inputs: one load and one forward pass, ever."""
        from provenance.capture.coverage import COVERAGE_VERSION
        from provenance.capture.run import CAPTURE_VERSION, Capturing, capture_to

        def run(folder: Path, device: str) -> None:
            how = Capturing(
                device,
                self.memory,
                lambda: self.tell(Stage("load", checkpoint.source)),
                lambda i, n: self.tell(Stage("capture", checkpoint.source, i, n)),
                gated,
            )
            capture_to(folder, checkpoint, inputs, how)

        fields: dict[str, JSON] = {
            "version": CAPTURE_VERSION,
            "coverage": COVERAGE_VERSION,
            "inputs": inputs.digest,
        }
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

        def build(folder: Path) -> None:
            with self.leased() as device:
                run(folder, device)
                if device != "cpu":
                    gc.collect()  # a model is free of cycles, but a GPU has no room for a mistake

        fields |= {
            "model": checkpoint.digest,
            "dtype": checkpoint.spec.dtype,
            "device": self.device,
        }
        return self.store.get_or_create(
            kind, fields, build, lambda: self.tell(Stage("wait", checkpoint.source))
        )
