"""Reports: results for people, in one HTML file without a script.

* In: `evidence.results.Results`.
* Out: a page. Each module returns data or SVG; `view` holds the types, the template shows them.
* Open `html` first, then `sections`.
"""

from __future__ import annotations

from provenance.report.html import render_report

__all__ = ["render_report"]
