"""One generated test as data: a claim of a suite, and the part of it that the test checks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provenance.comparison.plan import (
    ALL_BLOCKS,
    NULL,
    POSITIVE,
    VERDICT,
    block_part,
    controlled,
    needs,
)
from provenance.statistics import PAIR_STATISTICS
from provenance.vocabulary import NEAREST

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from provenance.comparison.plan import Needs
    from provenance.suite.claims import Claim, Suite


@dataclass(frozen=True, eq=False)
class Case:
    """What one generated test checks.

    ``nodeid`` is what pytest calls the suite file at ``path``. ``part`` is one of `comparison.plan`:
    ``block3``, ``blocks`` (all at once), ``verdict``, or a control: ``null``, ``positive``.
    """

    nodeid: str
    path: Path
    suite: Suite
    claim: Claim
    part: str

    def needs(self) -> Needs:
        """The comparisons that the test needs."""
        return needs(self.suite, self.claim, self.part)

    def where(self, folder: Path) -> str:
        """The claim's file and line, relative to a folder."""
        return f"{os.path.relpath(self.path, folder)}:{self.claim.mark.line}"


def parts_of(suite: Suite, claim: Claim) -> list[str]:
    """What is tested of a claim: each block, or all at once where they cannot be counted yet."""
    if claim.statistic in PAIR_STATISTICS or claim.sample is not None or claim.expect == NEAREST:
        return [VERDICT]  # which blocks are drawn is known once both models are open
    blocks = [block_part(index) for index in _block_indices(suite, claim)]
    controls = [NULL] if suite.controls == "all" and claim.expect == "independent" else []
    return [*(blocks or [ALL_BLOCKS]), *controls, VERDICT]


def _block_indices(suite: Suite, claim: Claim) -> tuple[int, ...]:
    """Blocks that get a test of their own: named by the claim, or as many as the model has."""
    if claim.blocks.indices is not None:
        return claim.blocks.indices
    spec = suite.models[claim.candidate]
    if spec.recipe is not None:
        from provenance.recipes import RECIPES

        recipe = RECIPES.get(spec.recipe)
        return () if recipe is None else tuple(range(recipe.blocks))
    from provenance.checkpoints.checkpoint import peek_blocks

    return tuple(range(peek_blocks(spec) or 0))


def tests_of(suite: Suite) -> Iterator[tuple[str, str]]:
    """Every test of a suite: the name of its function, and the part that it checks."""
    for claim in suite.claims:
        yield from ((claim.id, part) for part in parts_of(suite, claim))
    yield from ((name, POSITIVE) for name in control_tests(suite))


def tested_claims(suite: Suite) -> dict[str, Claim]:
    """The claim behind each generated test function of a suite, by the function's name."""
    return {claim.id: claim for claim in suite.claims} | control_tests(suite)


def control_tests(suite: Suite) -> dict[str, Claim]:
    """The claims whose references have a test function for their positive control, by its name."""
    controls = controlled(suite.claims) if suite.controls == "all" else {}
    return {control_name(reference): claim for reference, claim in controls.items()}


def control_name(reference: str) -> str:
    """The name of the test function for a reference's positive control."""
    return f"control-{reference}"
