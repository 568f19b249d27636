"""Reports: what results hold, for people. One HTML file, complete in itself, without a script."""

from __future__ import annotations

from provenance.report.html import render_report

__all__ = ["render_report"]
