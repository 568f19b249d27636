"""Where pytest would root a run of one file, and where it would keep the cache of that run.

These are pytest's own rules [1]_, for the case of one file. Only the plugin may import pytest.

References
----------
.. [1] https://docs.pytest.org/en/stable/reference/customize.html#finding-the-rootdir
"""

from __future__ import annotations

import os
import shlex
import tomllib
from argparse import ArgumentError, ArgumentParser, Namespace
from configparser import ConfigParser
from configparser import Error as ConfigError
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provenance.errors import ProvenanceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OWN = ("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini")
"""Files that configure pytest whatever they hold."""
CONFIGURATIONS = (*OWN, "pyproject.toml", "tox.ini", "setup.cfg")
CACHE = ".pytest_cache"


@dataclass(frozen=True)
class PytestRoot:
    """The folder that ids of tests are relative to, and pytest's cache of the runs there."""

    folder: Path
    cache: Path


def pytest_root(invocation: Path, file: Path | None, environment: Mapping[str, str]) -> PytestRoot:
    """Say where `pytest FILE` would root itself, called in a folder.

    Parameters
    ----------
    invocation : Path
        The folder that pytest is called in, absolute.
    file : Path or None
        The one file that is named, absolute; None where none is.
    environment : mapping
        Of which PYTEST_ADDOPTS and TOX_ENV_DIR count.

    Raises
    ------
    ProvenanceError
        If a configuration or PYTEST_ADDOPTS cannot be read: pytest would not run either.
    """
    options = _options(_split(environment.get("PYTEST_ADDOPTS", ""), "PYTEST_ADDOPTS"))
    start = invocation if file is None else file.parent
    folder, settings = _located(invocation, start, options)
    if options.rootdir:
        folder = invocation / os.path.expandvars(options.rootdir)
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - pytest follows no links
    return PytestRoot(folder, folder / _cache(options, settings, environment))


def _located(invocation: Path, start: Path, options: Namespace) -> tuple[Path, Mapping[str, Any]]:
    """The root and the settings, but for --rootdir."""
    if options.config:
        path = invocation / options.config
        if path.is_file():
            return path.parent, _settings(path) or {}
        return (invocation if _is_top(start) else start), {}
    configured = _configured(start)
    if configured is not None:
        return configured
    for folder in (start, *start.parents):
        if (folder / "setup.py").is_file():
            return folder, {}
    common = Path(os.path.commonpath([invocation, start]))
    return (start if _is_top(common) else common), {}


def _configured(start: Path) -> tuple[Path, Mapping[str, Any]] | None:
    """The nearest folder upwards with settings of pytest, else with any pyproject.toml."""
    project = None
    for folder in (start, *start.parents):
        for name in CONFIGURATIONS:
            path = folder / name
            if not path.is_file():
                continue
            settings = _settings(path)
            if settings is not None:
                return folder, settings
            if name == "pyproject.toml" and project is None:
                project = folder
    return None if project is None else (project, {})


def _settings(path: Path) -> Mapping[str, Any] | None:
    """What a file says to pytest; None where it says nothing to it."""
    try:
        found = _of_toml(path) if path.suffix == ".toml" else _of_ini(path)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ConfigError) as error:
        reason = str(error).partition("\n")[0]
        raise ProvenanceError(f"{path}: pytest's configuration cannot be read: {reason}") from None
    return {} if found is None and path.name in OWN else found


def _of_toml(path: Path) -> Mapping[str, Any] | None:
    document = tomllib.loads(path.read_text("utf-8"))
    table = document.get("tool", {}).get("pytest")
    if path.name in OWN or (table is None and path.name != "pyproject.toml"):
        table = document.get("pytest")
    if table is None:
        return None
    options: Mapping[str, Any] | None = table.get("ini_options")
    return options if options is not None else table or None


def _of_ini(path: Path) -> Mapping[str, Any] | None:
    parser = ConfigParser(interpolation=None, strict=False, allow_no_value=True)
    parser.read_string(path.read_text("utf-8"), str(path))
    section = "tool:pytest" if path.suffix == ".cfg" else "pytest"
    return dict(parser[section]) if section in parser else None


def _options(words: Sequence[str]) -> Namespace:
    """The options among the words that decide the root and the cache."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--rootdir")
    parser.add_argument("-c", "--config-file", dest="config")
    parser.add_argument("-o", "--override-ini", dest="overrides", action="append", default=[])
    try:
        return parser.parse_known_args(words)[0]
    except ArgumentError as error:
        raise ProvenanceError(f"pytest's options cannot be read: {error}") from None


def _split(text: str, where: str) -> Sequence[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ProvenanceError(f"{where} cannot be read: {error}") from None


def _cache(options: Namespace, settings: Mapping[str, Any], environment: Mapping[str, str]) -> Path:
    """The cache's folder, relative to the root unless it is absolute."""
    added = settings.get("addopts") or ()
    words = _split(added, "addopts") if isinstance(added, str) else added
    named = settings.get("cache_dir") or str(Path(environment.get("TOX_ENV_DIR", ""), CACHE))
    for override in (*_options(words).overrides, *options.overrides):
        key, _, value = override.partition("=")
        named = value if key == "cache_dir" else named
    return Path(os.path.expandvars(Path(named).expanduser()))


def _is_top(folder: Path) -> bool:
    return folder == folder.parent
