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

from provenance.comparison.plan import controlled
from provenance.errors import SuiteError
from provenance.plugin.checks import ALL_BLOCKS, NULL, POSITIVE, VERDICT, check
from provenance.statistics import PAIR_STATISTICS
from provenance.suite.read import Claim, Suite, load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# pytest's long traceback prints the arguments that a frame still has; these tell the user nothing
SOURCE = """
def test(request, provenance, part):
    arguments = request, provenance, claim, part
    del request, provenance, part
    check(*arguments)
"""


class SuiteFile(pytest.Module):
    """Collector of one `*.suite.yaml` file."""

    @cached_property
    def suite(self) -> Suite:
        """The parsed file; all its mistakes become one collection error."""
        try:
            return load(self.path)
        except SuiteError as error:
            raise self.CollectError(_relative(str(error), self.path, self.nodeid)) from None

    def _getobj(self) -> ModuleType:
        module = ModuleType(self.path.stem)
        module.__file__ = str(self.path)
        module.__doc__ = f"Claims of {self.nodeid}."
        for claim in self.suite.claims:
            setattr(module, claim.id, _test_function(self, claim))
        controls = controlled(self.suite.claims) if self.suite.controls else {}
        for reference, claim in controls.items():
            setattr(module, f"control-{reference}", _control_function(self, claim))
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


def _control_function(collector: SuiteFile, claim: Claim) -> Callable[..., None]:
    function = _compiled(collector, claim, f"control-{claim.reference}")
    function.__doc__ = f"A disguised copy of {claim.reference} is found dependent on it."
    marked = pytest.mark.parametrize("part", [POSITIVE])(function)
    assert isinstance(marked, FunctionType)
    return marked


def _test_function(collector: SuiteFile, claim: Claim) -> Callable[..., None]:
    function = _compiled(collector, claim, claim.id)
    function.__doc__ = f"{claim.candidate} against {claim.reference}: {claim.expect}."
    parts = _part_ids(collector.suite, claim)
    marked: Any = pytest.mark.parametrize("part", [_part(claim, part) for part in parts])(function)
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


def _part(claim: Claim, part: str) -> Any:
    """One parameter: an expected failure is strict, where it is, for the verdict alone.

    A false claim of the whole pair can be true of some of its blocks.
    """
    if claim.xfail is None:
        return pytest.param(part, id=part)
    expected = pytest.mark.xfail(reason=claim.xfail)
    if part != VERDICT:
        expected = pytest.mark.xfail(reason=claim.xfail, strict=False)
    return pytest.param(part, id=part, marks=expected)


def _part_ids(suite: Suite, claim: Claim) -> list[str]:
    """What is tested of a claim: each block, or all at once where they cannot be counted yet."""
    if claim.statistic in PAIR_STATISTICS:
        return [VERDICT]
    blocks = [f"block{index}" for index in _block_ids(suite, claim)]
    controls = [NULL] if suite.controls and claim.expect == "independent" else []
    return [*(blocks or [ALL_BLOCKS]), *controls, VERDICT]


def _block_ids(suite: Suite, claim: Claim) -> tuple[int, ...]:
    """Blocks that get a test of their own: named by the claim, or as many as the model has."""
    if claim.blocks.indices is not None:
        return claim.blocks.indices
    spec = suite.models[claim.candidate]
    if spec.recipe is not None:
        from provenance.recipes import RECIPES

        recipe = RECIPES.get(spec.recipe)
        return () if recipe is None else tuple(range(recipe.blocks))
    from provenance.checkpoints.checkpoint import peek_blocks

    return tuple(range(peek_blocks(spec) or 0))


def _compiled(collector: SuiteFile, claim: Claim, name: str) -> Callable[..., None]:
    """A function of that name that calls `check`, placed at the claim's ``expect``."""
    tree = ast.parse(SOURCE)
    mark = claim.mark
    for node in ast.walk(tree):
        if isinstance(node, (ast.stmt, ast.expr, ast.arg)):
            node.lineno, node.end_lineno = mark.line, mark.end_line
            node.col_offset, node.end_col_offset = mark.column - 1, mark.end_column - 1
    namespace: dict[str, Any] = {"check": check, "claim": claim}
    exec(compile(tree, str(collector.path), "exec"), namespace)  # noqa: S102 - our own two lines
    function: FunctionType = namespace["test"]
    function.__name__ = function.__qualname__ = name
    return function
