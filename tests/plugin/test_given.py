"""Claims that are given a base, under pytest: what a user sees of a false one."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

SUITE = """\
version: 1
inputs: {{tokens: 256, sequence_length: 64}}
models:
  kin: {{path: {kin}}}
  base: {{path: {base}}}
  short: {{path: {short}}}
pairs:
  - {{candidate: kin, reference: short, expect: independent, given: base}}
"""


def test_a_failure_says_what_is_shared_beyond_the_base(pytester, family, shared_store):
    places = {name: getattr(family, name) for name in ("kin", "base", "short")}
    pytester.makeini("[pytest]")
    (pytester.path / "a.suite.yaml").write_text(SUITE.format(**places))
    result = pytester.runpytest_inprocess(
        *("a.suite.yaml", f"--provenance-store={shared_store}", "--provenance-device=cpu"),
        *("-k", "verdict", "--provenance-report=report.html"),
    )
    result.stdout.fnmatch_lines(
        [
            "*claimed   kin is independent of short, given base (a.suite.yaml:8)",
            "*meaning   The claim is false. Given base, the cosine of their differences*: more than *",
        ]
    )
    assert result.ret == 1
    assert "given base" in (pytester.path / "report.html").read_text("utf-8")
