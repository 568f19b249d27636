"""What must be computed of single models before two of them are compared, each thing once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from provenance.comparison.plan import Capture
from provenance.statistics import BUNDLED, REGISTRY
from provenance.vocabulary import InputsSpec

if TYPE_CHECKING:
    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.comparison.plan import Comparison
    from provenance.vocabulary import ModelSpec

_Reads = tuple[int | None, int | None, str | None]


class Captures:
    """Says what comparisons need, and names it alike where two comparisons need the same.

    What a model is fed with a partner depends on how the two read text, not on which models they are: of
    the partners that read alike the first stands for all.
    """

    def __init__(self) -> None:
        self._first: dict[_Reads, ModelSpec] = {}

    def of(
        self, comparison: Comparison, candidate: Checkpoint, reference: Checkpoint
    ) -> tuple[Capture, ...]:
        """The captures of a comparison, of the candidate first; none where blocks are not compared.

        None either where nothing can be captured, which comparing the two then says.
        """
        statistic = REGISTRY[comparison.statistic]
        components = statistic.components()
        if (candidate.bundle or reference.bundle) and comparison.statistic not in BUNDLED:
            return ()
        inputs = comparison.inputs
        sides = ((candidate, reference), (reference, candidate))
        found: list[Capture] = []
        if any(part.basis == "activations" for part in components) and inputs.kind != "hidden":
            models = [side for side in (candidate, reference) if side.bundle is None]
            if any(model.vocabulary is None for model in models):
                return ()
            for model, partner in sides:
                if model.bundle is not None:
                    continue
                if partner.bundle is not None:
                    found.append(Capture(model.spec, partner.spec, inputs, statistic.gated))
                    continue
                alike = _reads(model) == _reads(partner)
                fed_with = model.spec if alike else self._partner(partner)
                found.append(Capture(model.spec, fed_with, inputs, statistic.gated))
        if any(part.basis == "functions" for part in components):
            # no text is read for imitations: of the inputs the seed alone matters
            seeded = replace(InputsSpec(), seed=inputs.seed)
            found += [
                Capture(candidate.spec, candidate.spec, seeded, gated=False, role="candidate"),
                Capture(reference.spec, reference.spec, seeded, gated=False, role="reference"),
            ]
        return tuple(found)

    def _partner(self, checkpoint: Checkpoint) -> ModelSpec:
        return self._first.setdefault(_reads(checkpoint), checkpoint.spec)


def _reads(checkpoint: Checkpoint) -> _Reads:
    return checkpoint.vocabulary, checkpoint.positions, checkpoint.tokenizer_digest
