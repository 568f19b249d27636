"""Looks at what the rest runs on: installed packages, extras, the device, and the store's disk.

A check says what it found and, where that is not well, what to do.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from typing import TYPE_CHECKING, Literal

from provenance._text import without_home
from provenance.errors import DeviceError, extra, one_line

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from provenance.store.store import Store

DISTRIBUTION = "pytest-provenance"
OURS_ALONE = frozenset({"dev", "readers"})
"""Extras that serve the development of this package and are of no use to its users."""
ENOUGH_DISK = 10 << 30
LEAST_DISK = 1 << 30


@dataclass(frozen=True)
class Check:
    """What was found; ``remedy`` says what to do where ``state`` is not "ok"."""

    name: str
    state: Literal["ok", "warning", "problem"]
    detail: str
    remedy: str | None = None


def diagnose(store: Store, *, device: str = "auto") -> tuple[Check, ...]:
    """Look at everything; never raises of what is wrong with it.

    Parameters
    ----------
    store : Store
        The store that will be used; nothing is left in it.
    device : str
        The request that models will run under: "auto", "cpu", "cuda" or "cuda:N".

    Returns
    -------
    tuple of Check
        In the order in which a person would look.
    """
    checks = (_packages(), _extras(), _device(device), _store(store))
    return tuple(replace(check, detail=without_home(check.detail)) for check in checks)


def _packages() -> Check:
    """The versions of what is required."""
    wrong = []
    needed = [need for need in _requirements() if need.marker is None or need.marker.evaluate()]
    for need in needed:
        installed = _version(need.name)
        if installed is None:
            wrong.append(f"{need.name} is not installed")
        elif not need.specifier.contains(installed, prereleases=True):
            wrong.append(f"{need.name} {installed} is not {need.specifier}")
    if wrong:
        remedy = f"pip install --upgrade {DISTRIBUTION}"
        return Check("packages", "problem", "; ".join(wrong), remedy)
    shown = ", ".join(
        f"{name} {_version(name)}" for name in (DISTRIBUTION, "torch", "transformers")
    )
    return Check("packages", "ok", f"{shown}; all {len(needed)} requirements are met")


def _extras() -> Check:
    """Optional libraries: to lack one is no fault, and the check says how to install it."""
    wanted: dict[str, list[str]] = {}
    for need in _requirements():
        for name in _extra_names(need):
            wanted.setdefault(name, []).append(need.name)
    here = [name for name, needs in wanted.items() if all(map(_version, needs))]
    absent = [name for name in wanted if name not in here]
    detail = f"installed: {', '.join(here) or 'none'}"
    if absent:
        detail += f"; not installed: {', '.join(absent)} ({extra(','.join(absent))})"
    return Check("extras", "ok", detail)


def _requirements() -> list[Requirement]:
    from packaging.requirements import Requirement

    return [Requirement(text) for text in requires(DISTRIBUTION) or ()]


def _extra_names(need: Requirement) -> list[str]:
    """The extras that a requirement belongs to."""
    if need.marker is None or need.marker.evaluate({"extra": ""}):
        return []
    names = set(metadata(DISTRIBUTION).get_all("Provides-Extra") or ()) - OURS_ALONE
    return [name for name in sorted(names) if need.marker.evaluate({"extra": name})]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _device(requested: str) -> Check:
    try:
        import torch

        from provenance.loading.devices import devices_for, free_bytes
    except (ImportError, OSError) as error:
        what = f"torch cannot be imported: {one_line(error)}"
        return Check("device", "problem", what, "pip install --force-reinstall torch")
    try:
        names = devices_for(requested)
    except DeviceError as error:
        return Check("device", "problem", str(error), "give --device auto, or look at nvidia-smi")
    free = ", ".join(f"{name} ({_gib(free_bytes(name))} free)" for name in names)
    cuda = torch.version.cuda
    detail = f"{requested} gives {free}; torch is built for {f'CUDA {cuda}' if cuda else 'no GPU'}"
    if names != ("cpu",) or requested == "cpu" or shutil.which("nvidia-smi") is None:
        return Check("device", "ok", detail)
    remedy = "install the build of torch that fits the driver: https://pytorch.org/get-started"
    return Check("device", "warning", f"{detail}, but nvidia-smi is here", remedy)


def _store(store: Store) -> Check:
    """Whether the store's folder can be written, and how much room its disk has."""
    place = str(store.root) if store.url is None else f"{store.root}, which caches {store.url}"
    variable = "PROVENANCE_STORE" if store.url is None else "PROVENANCE_STORE_CACHE"
    root = store.root
    folder = next(path for path in (root, *root.parents) if path.exists())
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".doctor-"):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        what = f"{place} cannot be written: {one_line(error)}"
        return Check("store", "problem", what, f"set {variable} to a folder that is writable")
    detail = f"{place}: {_gib(free)} free"
    if free >= ENOUGH_DISK:
        return Check("store", "ok", detail)
    remedy = f"run provenance store gc --keep SIZE, or set {variable} to another disk"
    return Check("store", "problem" if free < LEAST_DISK else "warning", detail, remedy)


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
