"""Exact assignment: which unit of one matrix is which unit of the other.

* In: two matrices of row vectors, one row a unit.
* Out: a matching of largest total similarity, and proof that it is the largest.
* Open `solve` first. `likely_pairs` and `sparse` make it fast; `similarity` is what is
  maximized. `apart` lets other processes run `solver`.
"""
