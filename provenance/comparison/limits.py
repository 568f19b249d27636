"""How much of what could be compared is tested: what tests keep to, and a plan counts with. No torch."""

BEST = 3
"""Partners that are tested of each block of the candidate, and for each statistic."""

SAMPLE = 128
"""Units of a block whose nearest counterparts are looked for in another."""

ALL = 16
"""Most MLPs in the reference's block of which each is tested against each."""

PARTNERS = 8
"""Partners that are tested for each MLP of the candidate, and for each statistic, where there are more."""

FURTHER = 0.05
"""Only the likeliest of them is tested where the least p-value of these, times their number, is as large.

Strangers come so far by chance, once in twenty."""

BLOCKS = 2
"""So many blocks of each side are tested against their copies."""
