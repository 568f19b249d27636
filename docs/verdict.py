"""Draw docs/verdict.svg, README's picture, from a real run: ``python docs/verdict.py``."""

import io
from pathlib import Path

from rich.console import Console

import provenance
from provenance.cli._compare import print_evidence
from provenance.evidence.decide import decide_blocks

CANDIDATE, REFERENCE = "quickstart/rebranded", "quickstart/base"


def main() -> None:
    """Measure the disguised fine-tune and save what `provenance compare` prints."""
    evidence = provenance.compare(CANDIDATE, REFERENCE)
    console = Console(record=True, width=88, file=io.StringIO(), highlight=False)
    verdict = decide_blocks(evidence.blocks, 1e-6)
    print_evidence(console, evidence, verdict, 1e-6)
    title = f"provenance compare {CANDIDATE} {REFERENCE}"
    console.save_svg(str(Path(__file__).with_suffix(".svg")), title=title)


if __name__ == "__main__":
    main()
