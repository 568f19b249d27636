"""A suite file as a module of generated test functions, one a claim, parametrized by block.

The functions are compiled with the positions of the YAML, so that tracebacks, the short summary, JUnit
and editors point at the claim. Everything else (fixtures, marks, ids, ``-k``, ``--lf``, xdist) is what
pytest does with any Python test. ``_getobj``, ``funcnamefilter`` and ``istestfunction`` are pytest's own
undocumented seams; tests/plugin/test_plugin.py pins them.
"""

from __future__ import annotations

import ast
from functools import cached_property
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from provenance.comparison.plan import POSITIVE, VERDICT
from provenance.errors import SuiteError
from provenance.evidence.wording import describe
from provenance.plugin import options
from provenance.plugin.cases import Case, control_tests, parts_of
from provenance.plugin.checks import check
from provenance.vocabulary import NEAREST

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from provenance.suite.claims import Claim, Suite

# pytest's long traceback prints the arguments that a frame still has; these tell the user nothing
SOURCE = """
def test(request, provenance, case):
    arguments = request, provenance, case
    del request, provenance, case
    check(*arguments)
"""


class SuiteFile(pytest.Module):
    """Collector of one `*.suite.yaml` file."""

    @cached_property
    def suite(self) -> Suite:
        """The parsed file; all its mistakes become one collection error."""
        try:
            return options.read_suite(self.path, self.config)
        except SuiteError as error:
            raise self.CollectError(_relative(str(error), self.path, self.nodeid)) from None

    def _getobj(self) -> ModuleType:
        module = ModuleType(self.path.stem)
        module.__file__ = str(self.path)
        module.__doc__ = f"Claims of {self.nodeid}."
        for claim in self.suite.claims:
            setattr(module, claim.id, _claim_function(self, claim))
        for name, claim in control_tests(self.suite).items():
            setattr(module, name, _control_function(self, claim, name))
        return module

    def funcnamefilter(self, name: str) -> bool:  # noqa: ARG002
        """Every name that a suite gives is a test's."""
        return True

    def istestfunction(self, obj: object, name: str) -> bool:  # noqa: ARG002
        """Only generated functions are in the module."""
        return isinstance(obj, FunctionType)


def _relative(message: str, path: Path, nodeid: str) -> str:
    """Mistakes as pytest names files: relative to its root."""
    return message.replace(f"{path}:", f"{nodeid}:")


def _control_function(collector: SuiteFile, claim: Claim, name: str) -> Callable[..., None]:
    function = _compiled(collector, claim, name)
    function.__doc__ = f"A disguised copy of {claim.reference} is found dependent on it."
    marked = _parametrized(function, collector, claim, [POSITIVE])
    assert isinstance(marked, FunctionType)
    return marked


def _claim_function(collector: SuiteFile, claim: Claim) -> Callable[..., None]:
    function = _compiled(collector, claim, claim.id)
    function.__doc__ = f"{claim.candidate} against {claim.reference}: {claim.expect}."
    if claim.expect == NEAREST:
        function.__doc__ = f"{describe(claim)}."
    marked = _parametrized(function, collector, claim, parts_of(collector.suite, claim))
    marked = pytest.mark.relation(
        kind=claim.expect,
        candidate=claim.candidate,
        reference=claim.reference,
        base=claim.reference,
    )(marked)
    for tag in claim.tags:
        # a tag is declared by being used: --strict-markers is about marks in code
        collector.config.addinivalue_line("markers", f"{tag}: a tag of a suite")
        marked = getattr(pytest.mark, tag)(marked)
    if claim.skip is not None:
        marked = pytest.mark.skip(reason=claim.skip)(marked)
    assert isinstance(marked, FunctionType)
    return marked


def _parametrized(
    function: Callable[..., None], collector: SuiteFile, claim: Claim, parts: list[str]
) -> Any:
    """The function with one `Case` a part."""
    cases = [Case(collector.nodeid, collector.path, collector.suite, claim, part) for part in parts]
    return pytest.mark.parametrize("case", [_parameter(case) for case in cases])(function)


def _parameter(case: Case) -> Any:
    """One parameter: an expected failure is strict, where it is, for the verdict alone.

    A false claim of the whole pair can be true of some of its blocks.
    """
    reason = case.claim.xfail
    if reason is None or case.part == POSITIVE:
        return pytest.param(case, id=case.part)
    expected = pytest.mark.xfail(reason=reason)
    if case.part != VERDICT:
        expected = pytest.mark.xfail(reason=reason, strict=False)
    return pytest.param(case, id=case.part, marks=expected)


def _compiled(collector: SuiteFile, claim: Claim, name: str) -> Callable[..., None]:
    """A function of that name that calls `check`, placed at the claim's ``expect``."""
    tree = ast.parse(SOURCE)
    mark = claim.mark
    for node in ast.walk(tree):
        if isinstance(node, (ast.stmt, ast.expr, ast.arg)):
            node.lineno, node.end_lineno = mark.line, mark.end_line
            node.col_offset, node.end_col_offset = mark.column - 1, mark.end_column - 1
    namespace: dict[str, Any] = {"check": check}
    exec(compile(tree, str(collector.path), "exec"), namespace)  # noqa: S102 - our own two lines
    function: FunctionType = namespace["test"]
    function.__name__ = function.__qualname__ = name
    return function
