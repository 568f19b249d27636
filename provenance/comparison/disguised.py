"""Controls: pairs whose answer is known by construction, measured beside the claims.

The positive control of a reference is a copy of it in a disguise that keeps its function: a test that
does not find that copy dependent has no power on this model, and its "independent" means nothing. The
negative control of a pair is its own table of blocks against blocks, off the alignment: blocks that do
not correspond behave like blocks of strangers, so their p-values must look uniform.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provenance.errors import ArchitectureError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from transformers import PreTrainedModel

    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.evidence.records import Evidence
    from provenance.vocabulary import Disguise

DISGUISE_VERSION = 1
LEAST_NULL = 6
"""Below this many p-values a test of uniformity says nothing."""

NULL_ALPHA = 1e-3
"""A negative control fails where its p-values are smaller than uniform ones with this p-value."""


def save_disguised(checkpoint: Checkpoint, folder: Path, disguise: Disguise = "all") -> None:
    """Save a copy of a model with the same function.

    Its hidden units are permuted, and where the model is laid out like Llama rescaled and sign-flipped;
    experts are permuted where a router is found; in disguise "all" the residual stream is permuted too,
    where all parameters are known. The tokenizer is copied as it is.

    Raises
    ------
    ArchitectureError
        If the model has no MLP whose units can be permuted.
    """
    import shutil

    from provenance._quiet import quiet
    from provenance.checkpoints.folder import TOKENIZER_FILES
    from provenance.loading.model import load_model
    from provenance.transforms import permute_residual_stream

    with quiet():
        disguised = _other_units(load_model(checkpoint, "cpu", checkpoint.spec.dtype))
        if disguise == "all":
            disguised = _if_known(permute_residual_stream, disguised)
        disguised.save_pretrained(folder)
    for name in TOKENIZER_FILES:
        if (checkpoint.folder / name).is_file():
            shutil.copyfile(checkpoint.folder / name, folder / name)


def _other_units(model: PreTrainedModel) -> PreTrainedModel:
    from provenance.transforms import (
        permute_experts,
        permute_mlp_units,
        permute_traced_units,
        rescale_mlp,
    )

    try:
        return rescale_mlp(permute_mlp_units(model, seed=1), seed=2, signs=True)
    except ArchitectureError as unknown:
        try:
            permuted = permute_traced_units(model, seed=1)
        except ArchitectureError:
            raise unknown from None
    return _if_known(permute_experts, permuted)


def _if_known(disguise: Callable[..., PreTrainedModel], model: PreTrainedModel) -> PreTrainedModel:
    """A further disguise, on models that it is known on."""
    try:
        return disguise(model, seed=3)
    except ArchitectureError:
        return model


@dataclass(frozen=True)
class NullControl:
    """The negative control of one pair.

    ``log10_p`` is of the one-sided Kolmogorov-Smirnov test against p-values that are too small; None
    where there are fewer than `LEAST_NULL`.
    """

    log10_p: float | None
    count: int

    def holds(self) -> bool:
        """Whether the p-values look like those of independent blocks."""
        return self.log10_p is None or self.log10_p >= math.log10(NULL_ALPHA)


def null_p_values(evidence: Evidence) -> tuple[float, ...]:
    """The log10 p-values off the alignment of a pair's table: of blocks that do not correspond.

    Parameters
    ----------
    evidence : Evidence
        Of every block against every block, by one statistic (a combination's p-values are not
        uniform, only no smaller).
    """
    aligned = {(pair.candidate_block, pair.reference_block) for pair in evidence.alignment}
    rows, columns = crossed_blocks(evidence)
    return tuple(
        log10_p
        for row, line in zip(rows, evidence.cross, strict=True)
        for column, log10_p in zip(columns, line, strict=True)
        if log10_p is not None and (row, column) not in aligned
    )


def crossed_blocks(evidence: Evidence) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Which blocks of the candidate and of the reference the rows and columns of ``cross`` are of."""
    skipped = evidence.reference.skipped
    columns = (index for index in range(evidence.reference.blocks) if str(index) not in skipped)
    return tuple(block.candidate_block for block in evidence.blocks), tuple(columns)


def null_control(evidence: Evidence) -> NullControl:
    """Test the p-values off the alignment of a pair's table of blocks against uniformity.

    Parameters
    ----------
    evidence : Evidence
        As `null_p_values` takes it.
    """
    from scipy.stats import kstest

    null = [10.0**log10_p for log10_p in null_p_values(evidence)]
    if len(null) < LEAST_NULL:
        return NullControl(None, len(null))
    found = kstest(null, "uniform", alternative="greater")
    return NullControl(math.log10(max(float(found.pvalue), 1e-300)), len(null))
