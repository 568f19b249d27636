"""From a verified checkpoint to a folder of what its MLPs are fed: one load and one forward pass."""

from __future__ import annotations

import gc
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from provenance.capture.coverage import measure_coverage
from provenance.capture.file import ActivationReader, ActivationWriter, TextSink
from provenance.capture.forward import Recording, capture
from provenance.capture.layout import known_layout
from provenance.capture.loss import LossProbe
from provenance.capture.power import least_rank
from provenance.capture.units import ACTIVATIONS, LAYOUT, find_in_skeleton
from provenance.errors import ProvenanceError
from provenance.loading.heads import NoHead
from provenance.loading.model import is_streamed, load_model, load_skeleton, other_heads

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.inputs.tokens import Inputs
    from provenance.vocabulary import Memory

CAPTURE_VERSION = 4
"""Raised whenever the same model and inputs would give other activations in the store."""


@dataclass(frozen=True)
class Capturing:
    """How a model is run: where, in how much memory, and what is called as it goes on.

    ``on_load`` is called once, ``on_progress`` with the sequences done and all. With ``gated``, a model
    without gates is an error: the statistic needs them.
    """

    device: str
    memory: Memory
    on_load: Callable[[], None]
    on_progress: Callable[[int, int], None]
    gated: bool = False

    def batch_bytes(self, *, streamed: bool) -> int:
        """Memory for the activations of a batch; more for a model that is read from disk for each batch."""
        return self.memory.working // (2 if streamed else 8)


def capture_to(folder: Path, checkpoint: Checkpoint, inputs: Inputs, how: Capturing) -> None:
    """Load a model, run it forward once, leave its activations and its layout in ``folder``.

    The file holds what each MLP is fed, a row for each of the inputs' ids. Its units' answers follow from
    that and from the weight files. The layout has how much of the model its MLPs are, the least effective
    rank of what they are fed, and of a text the model's loss.
    The model is freed before this returns. Errors name the model.
    """
    how.on_load()
    # structure has no numbers, and a model that is run from disk has not all of its own
    skeleton = load_skeleton(checkpoint)
    known = known_layout(checkpoint)
    trace = known.trace if known else find_in_skeleton(checkpoint, skeleton, gated=how.gated)
    model = load_model(
        checkpoint, how.device, checkpoint.spec.dtype, how.memory, skeleton, head=False
    )
    recording = Recording(trace, by_input=True)
    dtype = next(model.parameters()).dtype
    room = how.batch_bytes(streamed=is_streamed(model))
    head: Any = model.get_output_embeddings() if inputs.spec.kind == "text" else None
    is_absent = head is None or isinstance(head, NoHead)
    probe = None if is_absent else LossProbe(head, len(inputs.front))
    try:
        with ActivationWriter(
            folder / ACTIVATIONS, recording.widths(), len(inputs.ids), dtype
        ) as file:
            sink = TextSink(file, inputs.spec.sequence_length, len(inputs.front))
            capture(model, recording, inputs.sequences(), sink, how.on_progress, room, probe)
        coverage = measure_coverage(model, trace, inputs.sequences())
    except ProvenanceError as error:
        raise type(error)(f"{checkpoint.source}: {error}") from None
    reader = ActivationReader(folder / ACTIVATIONS)
    layout: dict[str, object] = {
        "trace": asdict(trace),
        "dtype": str(dtype).removeprefix("torch."),
        "coverage": asdict(coverage),
        "heads": known.heads if known else other_heads(checkpoint, skeleton),
        "rank": least_rank(reader.read(name) for name in recording.widths()),
    }
    if probe is not None and probe.loss is not None:
        layout["loss"] = asdict(probe.loss)
    (folder / LAYOUT).write_text(json.dumps(layout))
    if is_streamed(model):  # its hooks know the model that they belong to
        del model
        gc.collect()
