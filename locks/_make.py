"""Make the files of hashes beside this one from ``constraints.txt``: ``python locks/_make.py``.

Needs uv (``pip install uv``) and PyPI's index. ``dev.txt`` has whatever ``.[dev,docs]`` and its build need
but torch. That is in ``torch-pypi.txt``, with what it needs on Linux, and in ``torch-cpu.txt``: pip prefers
files whose hash the index states, so that one file for both would never give the second. ``extras.txt`` has
the other pins, without what they need themselves. All files that PyPI has of a version are listed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CONSTRAINTS = HERE.parent / "constraints.txt"

TORCH = "torch"
CPU = {
    "torch==2.13.0+cpu": (
        "torch==2.13.0+cpu \\\n"
        "    --hash=sha256:6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b\n"
    )
}
"""What the tests ran with: torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl, which is not on PyPI."""

OLDEST = "3.11.5"  # what the pinned versions of the site's packages run on
BROWSERS = "sys_platform == 'emscripten'"  # what only a browser's Python needs

HEADS = {
    "dev": "Everything that '.[dev,docs]' and its build need, save torch.",
    "torch-pypi": "PyPI's torch, and what it needs besides dev.txt on Linux.",
    "torch-cpu": "torch without CUDA, from download.pytorch.org: CPython 3.11 on x86_64 Linux alone.",
    "audit": "What .ci/audit runs.",
    "extras": "The other pins of constraints.txt, without what they need themselves: --no-deps.",
}


def main() -> None:
    """Write the files."""
    pins = [line for line in CONSTRAINTS.read_text().splitlines() if "==" in line]
    project = str(HERE.parent / "pyproject.toml")
    needed = _compile(
        ["--constraint", str(CONSTRAINTS), "--extra", "dev", "--extra", "docs", project, "-"],
        "hatchling\neditables\n",
    )
    needed = {pin: entry for pin, entry in needed.items() if BROWSERS not in entry.split("\\")[0]}
    dev = {pin for pin in needed if pin in pins and not pin.startswith(f"{TORCH}==")}
    rest = [pin for pin in pins if pin not in needed]
    _write("dev", {pin: needed[pin] for pin in dev})
    _write("torch-pypi", {pin: needed[pin] for pin in needed.keys() - dev})
    _write("torch-cpu", CPU)
    _write("audit", _compile(["--constraint", str(CONSTRAINTS), "-"], "pip-audit\n"))
    _write("extras", _compile(["--no-deps", "-"], "".join(f"{pin}\n" for pin in rest)))


def _compile(arguments: list[str], given: str) -> dict[str, str]:
    """Return the entries of what uv resolves, each with its hashes, by pin."""
    command = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", OLDEST]
    command += [
        "--generate-hashes",
        "--no-annotate",
        "--no-header",
        "--no-strip-extras",
        *arguments,
    ]
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=True)  # noqa: S603
    except subprocess.CalledProcessError as error:
        sys.exit(error.stderr)
    entries = re.split(r"^(?=\S)", done.stdout, flags=re.MULTILINE)
    # an entry begins: name[extra]==version ; marker
    return {re.sub(r"\[.*?\]", "", entry).split()[0]: entry for entry in entries if entry}


def _write(name: str, entries: dict[str, str]) -> None:
    text = "".join(entries[pin] for pin in sorted(entries))
    (HERE / f"{name}.txt").write_text(f"# {HEADS[name]}\n# Made by: python locks/_make.py\n{text}")


if __name__ == "__main__":
    main()
