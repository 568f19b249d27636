"""From YAML to claims, every mistake reported with its line.

* In: a `*.suite.yaml` file.
* Out: `claims.Suite` with its claims.
* Open `read` first, then `schema` (what a file may say) and `rules` (what takes several fields to see).
"""
