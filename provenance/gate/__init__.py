"""What a gate makes of results.

* In: `evidence.results.Results`, stored or of the run that just ended.
* Out: text for GitHub and GitLab (`markdown`, `github`) and for code scanning (`sarif`); a file that pins
  a run (`lock`), and how a later run differs (`drift`); stored evidence judged again (`verify`); one test
  in words (`explain`).
* Open `markdown` first. Nothing here needs a model, torch or pytest, and nothing writes a file.
"""
