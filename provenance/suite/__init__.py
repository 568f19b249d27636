"""From YAML to claims, every mistake reported with its line.

* In: a `*.suite.yaml` file.
* Out: `read.Suite` with its claims.
* Open `read` first, then `schema` (what a file may say) and `rules` (what it may mean).
"""
