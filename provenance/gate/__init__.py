"""What a gate makes of `Results`: pure functions from results to text, and checks of stored evidence.

`markdown` and `github` are for people on GitHub and GitLab, `sarif` for code scanning, `lock` and `drift`
for a file that pins a run, `verifying` re-checks what was stored, `explaining` tells of one test. Nothing
here needs a model, torch or pytest, and nothing writes a file.
"""
