"""Looks at what the rest runs on: devices, memory, disk, the store, the hub, and what is installed.

A check says what it found and, where that is not well, what to do. None prints or holds a secret.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, entry_points, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit
from uuid import uuid4

from filelock import FileLock

from provenance._text import without_home
from provenance.checkpoints.hub import hub_cache
from provenance.errors import DeviceError, StoreError, extra, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packaging.requirements import Requirement

    from provenance.store.store import Store

DISTRIBUTION = "pytest-provenance"
OURS_ALONE = frozenset({"dev", "readers"})
"""Extras that serve the development of this package and are of no use to its users."""
TIMEOUT = 5.0
ENOUGH_DISK = 10 << 30
LEAST_DISK = 1 << 30
ENOUGH_MEMORY = 4 << 30


@dataclass(frozen=True)
class Check:
    """What was found; ``remedy`` says what to do where ``state`` is not "ok"."""

    name: str
    state: Literal["ok", "warning", "problem"]
    detail: str
    remedy: str | None = None


def diagnose(store: Store, *, device: str = "auto", offline: bool = False) -> tuple[Check, ...]:
    """Look at everything; never raises of what is wrong with it.

    Parameters
    ----------
    store : Store
        The store that will be used; nothing is left in it.
    device : str
        The request that models will run under: "auto", "cpu", "cuda" or "cuda:N".
    offline : bool
        Leave out what needs the network.

    Returns
    -------
    tuple of Check
        In the order in which a person would look.
    """
    found = (
        _packages(),
        *_extras(),
        _plugin(),
        *_device(device),
        *_store(store),
        *_shared(store, offline=offline),
        _disk("disk", store.root),
        *_hub(offline=offline),
    )
    return tuple(_without_home(check) for check in found)


def _without_home(check: Check) -> Check:
    remedy = None if check.remedy is None else without_home(check.remedy)
    return replace(check, detail=without_home(check.detail), remedy=remedy)


def _packages() -> Check:
    """The versions of what is required."""
    wrong = []
    needed = [need for need in _requirements() if need.marker is None or need.marker.evaluate()]
    for need in needed:
        found = _version(need.name)
        if found is None:
            wrong.append(f"{need.name} is not installed")
        elif not need.specifier.contains(found, prereleases=True):
            wrong.append(f"{need.name} {found} is not {need.specifier}")
    if wrong:
        remedy = f"pip install --upgrade {DISTRIBUTION}"
        return Check("packages", "problem", "; ".join(wrong), remedy)
    shown = ", ".join(
        f"{name} {_version(name)}" for name in (DISTRIBUTION, "torch", "transformers")
    )
    return Check("packages", "ok", f"{shown}; all {len(needed)} requirements are met")


def _extras() -> Iterator[Check]:
    """Optional libraries: absent ones are no fault, and how to have them is told."""
    wanted: dict[str, list[str]] = {}
    for need in _requirements():
        for name in _extra_names(need):
            wanted.setdefault(name, []).append(need.name)
    here = [name for name, needs in wanted.items() if all(map(_version, needs))]
    absent = [name for name in wanted if name not in here]
    detail = f"installed: {', '.join(here) or 'none'}"
    if absent:
        detail += f"; not installed: {', '.join(absent)} ({extra(','.join(absent))})"
    yield Check("extras", "ok", detail)


def _requirements() -> list[Requirement]:
    from packaging.requirements import Requirement

    return [Requirement(text) for text in requires(DISTRIBUTION) or ()]


def _extra_names(need: Requirement) -> list[str]:
    """The extras that a requirement belongs to."""
    from importlib.metadata import metadata

    if need.marker is None or need.marker.evaluate({"extra": ""}):
        return []
    names = set(metadata(DISTRIBUTION).get_all("Provides-Extra") or ()) - OURS_ALONE
    return [name for name in sorted(names) if need.marker.evaluate({"extra": name})]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _plugin() -> Check:
    """Whether pytest will find the plugin by itself."""
    found = {entry.name for entry in entry_points(group="pytest11")}
    if "provenance" not in found:
        remedy = f"pip install --force-reinstall --no-deps {DISTRIBUTION}"
        return Check("pytest", "problem", "the plugin is not registered with pytest", remedy)
    detail = f"pytest {_version('pytest')}, the plugin is registered"
    if os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD"):
        what = f"{detail}, but PYTEST_DISABLE_PLUGIN_AUTOLOAD keeps it from being loaded"
        return Check("pytest", "warning", what, "unset it, or run pytest -p provenance.plugin")
    if "xdist" not in found:
        what = f"{detail}; pytest-xdist is not, so that -n is not there"
        return Check("pytest", "warning", what, "pip install pytest-xdist")
    return Check("pytest", "ok", f"{detail}; xdist {_version('pytest-xdist')}")


def _device(requested: str) -> Iterator[Check]:
    try:
        import torch

        from provenance.loading.devices import devices_for, free_bytes
    except (ImportError, OSError) as error:
        what = f"torch cannot be imported: {one_line(error)}"
        yield Check("device", "problem", what, "pip install --force-reinstall torch")
        return
    try:
        names = devices_for(requested)
    except DeviceError as error:
        yield Check("device", "problem", str(error), "give --device auto, or look at nvidia-smi")
    else:
        free = ", ".join(f"{name} ({_gib(free_bytes(name))} free)" for name in names)
        yield _device_found(requested, free, torch.version.cuda, gpu=names != ("cpu",))
    free_now = free_bytes("cpu")
    detail = f"{_gib(free_now)} free"
    if free_now < ENOUGH_MEMORY:
        remedy = "give --memory less than the default 2GiB, or end something else"
        yield Check("memory", "warning", detail, remedy)
    else:
        yield Check("memory", "ok", detail)


def _device_found(requested: str, free: str, cuda: str | None, *, gpu: bool) -> Check:
    detail = f"{requested} gives {free}; torch is built for {f'CUDA {cuda}' if cuda else 'no GPU'}"
    if gpu or requested == "cpu" or shutil.which("nvidia-smi") is None:
        return Check("device", "ok", detail)
    remedy = "install the build of torch that fits the driver: https://pytorch.org/get-started"
    return Check("device", "warning", f"{detail}, but nvidia-smi is here", remedy)


def _store(store: Store) -> Iterator[Check]:
    """Whether the store's folder can be written, what is in it, and what killed processes left there."""
    variable = "PROVENANCE_STORE" if store.url is None else "PROVENANCE_STORE_CACHE"
    try:
        home = _existing(store.root)
        with (
            tempfile.TemporaryDirectory(dir=home, prefix=".doctor-") as folder,
            FileLock(Path(folder) / "lock").acquire(blocking=False),
        ):
            sizes, left = store.size(), store.leftovers()
    except NotImplementedError:
        what = f"{store.root} is on a file system without locks, so that processes cannot share it"
        yield Check("store", "problem", what, f"set {variable} to a folder on a local disk")
        return
    except (OSError, StoreError) as error:
        what = f"{store.root} cannot be used: {one_line(error)}"
        yield Check("store", "problem", what, f"set {variable} to a folder that is writable")
        return
    entries = sum(count for count, _ in sizes.values())
    size = sum(bytes_ for _, bytes_ in sizes.values())
    detail = f"{store.root}, version {store.version}: {entries} entries, {_gib(size)}"
    other = sorted(path.name for path in store.root.glob("v[0-9]*") if path.name != store.version)
    if other:
        what = f"{detail}; {', '.join(other)} of another version of provenance is there too"
        yield Check("store", "warning", what, f"remove {store.root / other[0]} if it is not in use")
    elif left:
        what = f"{detail}; killed processes left {len(left)} unfinished entries"
        yield Check("store", "warning", what, "provenance store gc --keep 100GiB removes them")
    else:
        yield Check("store", "ok", detail)


def _shared(store: Store, *, offline: bool) -> Iterator[Check]:
    """Whether what is at a store's URL can be written, read, listed and removed."""
    if store.url is None:
        return
    if offline:
        yield Check("shared store", "ok", f"{store.url} was not asked, as --offline says")
        return
    note, text = f"doctor/{uuid4().hex}", "here"
    try:
        store.notes.write(note, text)
        seen = (store.notes.read(note), note in store.notes.names("doctor"))
        store.notes.remove(note)
        left = store.notes.read(note)
    except StoreError as error:
        yield Check(
            "shared store", "problem", str(error), "provenance needs to read, write, list, remove"
        )
        return
    if (*seen, left) != (text, True, None):
        what = (
            f"{store.url} does not give back at once what was put there, or keeps what was removed"
        )
        yield Check(
            "shared store", "problem", what, "use one that does: others would see no results"
        )
        return
    yield Check("shared store", "ok", f"{store.url} can be written, read and listed")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _disk(name: str, folder: Path) -> Check:
    try:
        free = shutil.disk_usage(_existing(folder)).free
    except OSError as error:
        return Check(name, "problem", f"{folder} cannot be looked at: {one_line(error)}")
    detail = f"{_gib(free)} free at {folder}"
    if free >= ENOUGH_DISK:
        return Check(name, "ok", detail)
    remedy = "free some, run provenance store gc --keep SIZE, or set PROVENANCE_STORE elsewhere"
    return Check(name, "problem" if free < LEAST_DISK else "warning", detail, remedy)


def _hub(*, offline: bool) -> Iterator[Check]:
    from huggingface_hub import constants, get_token

    cache = hub_cache()
    repositories = len(list(cache.glob("models--*"))) if cache.is_dir() else 0
    if cache.is_dir() and not os.access(cache, os.W_OK):
        what = f"{cache} is not writable, so that no repository can be downloaded"
        yield Check("hub cache", "warning", what, "set HF_HOME to a folder that is")
    else:
        yield Check("hub cache", "ok", f"{cache}: {repositories} repositories of models")
    token = "a token is set" if get_token() else "no token is set: public repositories alone"
    yield Check("hub token", "ok", token)
    if constants.HF_HUB_OFFLINE:
        yield Check("hub", "ok", "HF_HUB_OFFLINE is set: repositories come from the cache alone")
    elif not offline:
        yield _reached(constants.ENDPOINT)


def _reached(endpoint: str) -> Check:
    from huggingface_hub import get_session
    from huggingface_hub.errors import HTTPError

    shown = _without_secrets(endpoint)
    remedy = "check the network, the proxy and HF_ENDPOINT; --offline leaves this out"
    try:
        answer = get_session().head(endpoint, timeout=TIMEOUT)
    except (HTTPError, OSError, ValueError) as error:
        what = f"{shown} cannot be reached ({type(error).__name__})"
        return Check("hub", "problem", what, remedy)
    if answer.status_code >= 400:
        return Check("hub", "problem", f"{shown} answers {answer.status_code}", remedy)
    return Check("hub", "ok", f"{shown} answers")


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


def _without_secrets(url: str) -> str:
    """An address without what may be a password in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
