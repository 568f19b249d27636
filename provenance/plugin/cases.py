"""One generated test as data: a claim of a suite, and the part of it that the test checks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provenance.comparison.plan import controlled, needs

if TYPE_CHECKING:
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


def tested_claims(suite: Suite) -> dict[str, Claim]:
    """The claim behind each generated test function of a suite, by the function's name."""
    return {claim.id: claim for claim in suite.claims} | control_tests(suite)


def control_tests(suite: Suite) -> dict[str, Claim]:
    """The claims whose references have a test function for their positive control, by its name."""
    controls = controlled(suite.claims) if suite.controls else {}
    return {control_name(reference): claim for reference, claim in controls.items()}


def control_name(reference: str) -> str:
    """The name of the test function for a reference's positive control."""
    return f"control-{reference}"
