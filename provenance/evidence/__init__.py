"""What was measured, how it is judged, and in which words.

* In: measurements of pairs; claims of suites.
* Out: `records.Evidence`, `verdict.Judgement`, `results.Results`. Nothing here needs a model or torch.
* Open `records` first, then `verdict` and `results`. `families` finds kin in results.
"""
