"""What a run leaves behind, one format a file.

* In: `evidence.results.Results`.
* Out: files that the options named: results, report, SARIF, JUnit, job summary, attestation, lock.
* Open `write` first.
"""
