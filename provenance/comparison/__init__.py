"""From two models to the evidence on the pair.

* In: `plan.Comparison`: two models, a statistic, inputs and settings.
* Out: `evidence.records.Evidence`, from the store or computed into it.
* Open `plan` first, then `executor`, then `pair` and `blocks`.
"""
