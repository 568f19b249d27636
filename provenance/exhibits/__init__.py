"""The numbers that people argue with in public about two models. None decides.

* In: two models as `provenance.differences.side.Side`, their vocabularies and settings, and tested blocks.
* Out: values that `provenance.comparison.exhibits` makes `provenance.evidence.exhibits.Exhibit` of.
* Open `weights` first; `overlaps` counts what two models have in common.
"""
