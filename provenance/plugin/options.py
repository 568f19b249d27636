"""Options and ini values of the plugin, and what is read off them."""

from __future__ import annotations

from fnmatch import fnmatch
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

GLOBS = "provenance_suites"


def add(parser: pytest.Parser) -> None:
    """Add the options of the group "provenance" and the ini values."""
    group = parser.getgroup("provenance", "lineage of language models (pytest-provenance)")
    group.addoption(
        "--provenance-device",
        metavar="DEVICE",
        default="auto",
        help="where models run: auto (a GPU if there is one; each worker leases its own), cpu, "
        "cuda, cuda:N (default: auto)",
    )
    group.addoption(
        "--provenance-store",
        metavar="DIR",
        help="folder that keeps small models, activations and evidence between runs and shares "
        "them among workers (default: $PROVENANCE_STORE, else the user's cache folder)",
    )
    group.addoption(
        "--provenance-evidence",
        metavar="DIR",
        help="write the evidence on each pair to DIR/<suite>/<claim>.json",
    )
    parser.addini(
        GLOBS,
        "globs of file names that are collected as suites",
        type="args",
        default=["*.suite.yaml"],
    )


def globs(config: pytest.Config) -> list[str]:
    """Globs of the names of suite files."""
    found: list[str] = config.getini(GLOBS)
    return found


def store_folder(config: pytest.Config) -> Path | None:
    """Where ``--provenance-store`` points; relative to where pytest was started."""
    chosen: str | None = config.getoption("--provenance-store")
    return None if chosen is None else config.invocation_params.dir / chosen


def evidence_folder(config: pytest.Config) -> Path | None:
    """Where ``--provenance-evidence`` points."""
    chosen: str | None = config.getoption("--provenance-evidence")
    return None if chosen is None else config.invocation_params.dir / chosen


def only_suites(config: pytest.Config) -> bool:
    """Whether every argument is a suite file, or a folder that holds suite files directly."""
    paths = [config.invocation_params.dir / arg.partition("::")[0] for arg in config.args]
    return bool(paths) and all(_is_suites(path, globs(config)) for path in paths)


def _is_suites(path: Path, patterns: list[str]) -> bool:
    if path.is_dir():
        return any(True for pattern in patterns for _ in path.glob(pattern))
    return any(fnmatch(path.name, pattern) for pattern in patterns)
