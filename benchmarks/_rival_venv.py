"""Virtual environments of other tools: one for each set of requirements, made once."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

_VERSION = "import sys; print(*sys.version_info[:2])"
_INSTALLED = (
    "import importlib.metadata as m, json; "
    "print(json.dumps({d.metadata['Name']: d.version for d in m.distributions()}))"
)
_RECORD = "installed.json"


class UnavailableError(Exception):
    """A tool cannot be had here; the message says why, in one line."""


@dataclass(frozen=True)
class Needs:
    """What a tool is installed with: requirements of pip, the least Python, and the folder's name."""

    name: str
    requirements: tuple[str, ...]
    python: tuple[int, int]


@dataclass(frozen=True)
class Environment:
    """A tool's interpreter, and the versions of all that is installed for it."""

    python: Path
    installed: Mapping[str, str]

    def version(self, package: str) -> str:
        """Return a package's version, whatever its spelling; ``?`` if it is not installed."""
        wanted = _plain(package)
        found = (version for name, version in self.installed.items() if _plain(name) == wanted)
        return next(found, "?")


def environment(
    needs: Needs, folder: Path, pythons: Sequence[str], report: Callable[[str], None]
) -> Environment:
    """Return the environment in the folder, made anew where it is not there or holds other requirements.

    Raises
    ------
    UnavailableError
        If no interpreter is new enough, or the requirements cannot be installed.
    """
    home = folder / needs.name
    record = home / _RECORD
    if record.exists():
        kept = json.loads(record.read_text(encoding="utf-8"))
        if tuple(kept["requirements"]) == needs.requirements:
            return Environment(_python(home), kept["installed"])
    report(f"installing {', '.join(needs.requirements)} in {home}")
    shutil.rmtree(home, ignore_errors=True)
    _checked([_interpreter(needs.python, pythons), "-m", "venv", str(home)], "venv")
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _checked([str(_python(home)), *install, *needs.requirements], "pip install")
    installed = json.loads(_checked([str(_python(home)), "-c", _INSTALLED], "list of packages"))
    record.write_text(json.dumps({"requirements": needs.requirements, "installed": installed}))
    return Environment(_python(home), installed)


def _interpreter(least: tuple[int, int], pythons: Iterable[str]) -> str:
    """Return the first interpreter that is new enough."""
    for python in (*pythons, sys.executable, "python3.13", "python3.12", "python3"):
        found = shutil.which(python)
        if found and _version(found) >= least:
            return found
    raise UnavailableError(
        f"needs Python {least[0]}.{least[1]} or newer: name an interpreter with --python"
    )


def _version(python: str) -> tuple[int, ...]:
    found = subprocess.run([python, "-c", _VERSION], capture_output=True, text=True, check=False)  # noqa: S603
    return tuple(map(int, found.stdout.split())) if found.returncode == 0 else ()


def _checked(command: Sequence[str], what: str) -> str:
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError as error:
        raise UnavailableError(f"cannot be installed: {what}: {error}") from error
    if found.returncode:
        said = (found.stderr.strip() or found.stdout.strip() or "no message").splitlines()[-1]
        raise UnavailableError(f"cannot be installed: {what}: {said}")
    return found.stdout


def _python(home: Path) -> Path:
    return home / "bin" / "python"


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
