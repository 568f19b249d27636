"""Finds the nearest kin of one model among many, and judges what its model card says.

::

    arguments --references--> named ModelSpecs; a folder with an index is a `library`
    model + references + Executor --identify--> Identification: kin with corrected p-values, the nearest
    a suite's claim + Executor --identify_claimed--> the same, for `evidence.nearest` to judge
    model --judge_card--> CardJudgement: whether what the card says of its bases is so

Open `run` first. A reference that a few blocks settle costs no more; one that cannot be read loses nothing
of the others. Nothing here needs torch until a pair must be measured.
"""

from provenance.evidence.relatives import Identification, Relative
from provenance.identification.card import CardJudgement, JudgedBase, judge_card
from provenance.identification.claimed import identify_claimed
from provenance.identification.references import references_of
from provenance.identification.run import identify

__all__ = [
    "CardJudgement",
    "Identification",
    "JudgedBase",
    "Relative",
    "identify",
    "identify_claimed",
    "judge_card",
    "references_of",
]
