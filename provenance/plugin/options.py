"""Options and ini values of the plugin, and what they mean: places, sizes, an executor."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from fnmatch import fnmatch
from typing import TYPE_CHECKING

from provenance._text import expanded, is_url
from provenance.vocabulary import SEEDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from provenance.comparison.executor import Executor
    from provenance.store.store import Store
    from provenance.suite.claims import Suite
    from provenance.vocabulary import Memory, Stage

GLOBS = "provenance_suites"
LOCK = "provenance_lock"
EXECUTOR = "provenance_executor"
LOCAL = "local"
MEMORY = "2GiB"


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
        "--provenance-executor",
        metavar="WHERE",
        help="where evidence is computed: local (each test computes what it needs), or on a Ray cluster "
        "before the first test: ray (this machine's), HOST:PORT, ray://HOST:PORT (default: the ini value "
        "provenance_executor, else local)",
    )
    group.addoption(
        "--provenance-store",
        metavar="PLACE",
        help="folder, or URL such as s3://BUCKET/PREFIX, that keeps small models, activations and evidence "
        "between runs and shares them among workers and machines (default: $PROVENANCE_STORE, else the "
        "user's cache folder)",
    )
    group.addoption(
        "--provenance-hub",
        action="store_true",
        help="run the claims that a suite tags as `hub` too: their models are downloaded first",
    )
    group.addoption(
        "--provenance-memory",
        metavar="SIZE",
        default=MEMORY,
        help="working memory besides the weights of one model, such as 512MiB (default: 2GiB)",
    )
    group.addoption(
        "--provenance-resident",
        metavar="SIZE",
        help="a model whose weights take more than this is run block by block from disk (default: "
        "what the machine, or the GPU, has free besides the working memory)",
    )
    group.addoption(
        "--provenance-seed",
        metavar="N",
        type=_seed,
        help="seed of everything that is drawn at random, in place of the suites' own: one that nobody who "
        "made a model could know",
    )
    group.addoption(
        "--provenance-plan",
        metavar="FILE",
        help="run no test: say what the selected ones would cost, and write it to FILE as JSON (-: none)",
    )
    _add_outputs(group)
    parser.addini(
        EXECUTOR, "where evidence is computed, as --provenance-executor says", default=LOCAL
    )
    parser.addini(LOCK, "lock file that every run is compared with, relative to pytest's root")
    parser.addini(
        GLOBS,
        "globs of file names that are collected as suites",
        type="args",
        default=["*.suite.yaml"],
    )


def _add_outputs(group: pytest.OptionGroup) -> None:
    """Add what is written, or compared, at the end of a run."""
    group.addoption(
        "--provenance-evidence",
        metavar="DIR",
        help="write the evidence on each pair to DIR/<suite>/<claim>.json",
    )
    group.addoption(
        "--provenance-report",
        metavar="FILE",
        help="write a report on the run, one HTML page, to FILE",
    )
    group.addoption(
        "--provenance-attestation",
        metavar="FILE",
        help="write an in-toto Statement of the run to FILE, and the results that it refers to beside it",
    )
    group.addoption(
        "--provenance-github",
        metavar="WHEN",
        choices=("auto", "on", "off"),
        default="auto",
        help="annotate false claims and write the job's summary: auto (where GITHUB_ACTIONS is true), "
        "on, off (default: auto)",
    )
    group.addoption(
        "--provenance-sarif",
        metavar="FILE",
        help="write what does not hold as SARIF 2.1.0, for code scanning",
    )
    group.addoption(
        "--provenance-lock",
        metavar="FILE",
        help="compare the run with a lock file and fail where they differ (default: the ini value "
        "provenance_lock, if there is one)",
    )
    group.addoption(
        "--update-lock",
        action="store_true",
        help="write the lock file instead: pin what this run finds (default file: provenance.lock)",
    )


def _seed(text: str) -> int:
    seed = int(text) if text.isdecimal() else SEEDS
    if seed >= SEEDS:
        raise argparse.ArgumentTypeError(f"{text!r} is no seed: write a whole number below {SEEDS}")
    return seed


def read_suite(path: Path, config: pytest.Config) -> Suite:
    """Read a suite file, with the seed that ``--provenance-seed`` names.

    Raises
    ------
    SuiteError
        If the file has mistakes.
    """
    from provenance.suite.read import load

    suite = load(path)
    seed: int | None = config.getoption("--provenance-seed")
    return suite if seed is None else replace(suite, inputs=replace(suite.inputs, seed=seed))


def globs(config: pytest.Config) -> list[str]:
    """Globs of the names of suite files."""
    found: list[str] = config.getini(GLOBS)
    return found


def is_suite(path: str | Path, config: pytest.Config) -> bool:
    """Whether a file is collected as a suite, by its name."""
    return any(fnmatch(os.path.basename(path), glob) for glob in globs(config))  # noqa: PTH119


def backend(config: pytest.Config) -> str:
    """What runs the plan: by the option, else by the ini value."""
    chosen: str = _option(config, "executor") or config.getini(EXECUTOR)
    return chosen


def store_of(config: pytest.Config) -> Store:
    """The store that ``--provenance-store`` names; a folder is relative to where pytest was started.

    Raises
    ------
    StoreError
        If it is a URL that cannot hold a store.
    """
    from provenance.store.store import Store

    chosen = _option(config, "store")
    return Store(chosen if chosen is not None and is_url(chosen) else _path(config, "store"))


def executor_of(config: pytest.Config, on_stage: Callable[[Stage], None] | None) -> Executor:
    """An executor with the store, the device and the memory that the options name."""
    from provenance.comparison.executor import Executor

    device = config.getoption("--provenance-device")
    return Executor(store_of(config), device, on_stage, memory=memory(config))


def evidence_folder(config: pytest.Config) -> Path | None:
    """Where ``--provenance-evidence`` points."""
    return _path(config, "evidence")


def attestation(config: pytest.Config) -> Path | None:
    """Where ``--provenance-attestation`` points."""
    return _path(config, "attestation")


def sarif_file(config: pytest.Config) -> Path | None:
    """Where ``--provenance-sarif`` points."""
    return _path(config, "sarif")


def lock_file(config: pytest.Config) -> Path | None:
    """The lock file of this run, by the options, else by the ini value; None where there is none."""
    chosen: str | None = config.getoption("--provenance-lock")
    if chosen is not None:
        return config.invocation_params.dir / expanded(chosen)
    named: str = config.getini(LOCK)
    if named:
        return config.rootpath / expanded(named)
    return config.rootpath / "provenance.lock" if updates_lock(config) else None


def plans(config: pytest.Config) -> bool:
    """Whether the run is only planned."""
    return _option(config, "plan") is not None


def plan_file(config: pytest.Config) -> Path | None:
    """Where ``--provenance-plan`` points; None where no file is wanted."""
    return None if _option(config, "plan") == "-" else _path(config, "plan")


def updates_lock(config: pytest.Config) -> bool:
    """Whether the lock file is to be written."""
    return bool(config.getoption("--update-lock"))


def report_file(config: pytest.Config) -> Path | None:
    """Where ``--provenance-report`` points."""
    return _path(config, "report")


def validate(config: pytest.Config) -> None:
    """Refuse sizes and executors that are none before anything is run.

    Raises
    ------
    pytest.UsageError
        In one line.
    """
    sizes = (_option(config, "memory"), _option(config, "resident"))
    distant = is_url(_option(config, "store") or os.environ.get("PROVENANCE_STORE", ""))
    plain = backend(config) == LOCAL and not distant
    if sizes == (MEMORY, None) and plain:
        return  # parsing imports what most runs of pytest do not need
    import pytest

    from provenance.cluster import check_backend
    from provenance.errors import ProvenanceError

    try:
        memory(config)
        if distant:
            store_of(config)
        if not hasattr(config, "workerinput"):  # xdist's workers judge, and need no cluster
            check_backend(backend(config))
    except ProvenanceError as error:
        raise pytest.UsageError(str(error)) from None


def _path(config: pytest.Config, name: str) -> Path | None:
    chosen = _option(config, name)
    return None if chosen is None else config.invocation_params.dir / expanded(chosen)


def _option(config: pytest.Config, name: str) -> str | None:
    found: str | None = config.getoption(f"--provenance-{name}")
    return found


def memory(config: pytest.Config) -> Memory:
    """What ``--provenance-memory`` and ``--provenance-resident`` say.

    Raises
    ------
    ProvenanceError
        If either is no size.
    """
    from provenance.vocabulary import Memory, parse_bytes

    working, resident = _option(config, "memory"), _option(config, "resident")
    return Memory(
        parse_bytes(working or MEMORY), None if resident is None else parse_bytes(resident)
    )


def only_suites(config: pytest.Config) -> bool:
    """Whether every argument is a suite file, or a folder that holds suite files directly."""
    paths = [config.invocation_params.dir / arg.partition("::")[0] for arg in config.args]
    return bool(paths) and all(_is_suites(path, config) for path in paths)


def _is_suites(path: Path, config: pytest.Config) -> bool:
    if path.is_dir():
        return any(True for pattern in globs(config) for _ in path.glob(pattern))
    return is_suite(path, config)
