"""What was measured, how it is judged, and in which words.

* In: measurements of pairs; claims of suites.
* Out: `records.Evidence`, `verdict.Judgement`, `results.Results`. Nothing here needs a model or torch.
* Open `records` first, then `decide` (p-values to a verdict), `verdict` (a claim judged) and `results`.
  `wording` and `outcomes` hold the sentences, `families` finds kin in results.
"""
