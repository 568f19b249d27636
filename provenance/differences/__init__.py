"""What became of the weights of one of two kin: first it is mapped onto the other, then they are compared.

* In: two checkpoints, and which blocks of theirs are kin.
* Out: a `provenance.evidence.difference.DifferenceRecord`.
* Open `measure` first. `align` makes the map, of `residual`, `units` and `heads`; `matrix` looks
  at one difference, by `spectrum` and `grid`.
"""
