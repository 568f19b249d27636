"""The Hugging Face hub: ids, the local cache, and the download of one snapshot."""

from __future__ import annotations

import re
from contextlib import contextmanager
from fnmatch import fnmatchcase
from io import StringIO
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

from provenance._quiet import quiet
from provenance.checkpoints.contents import has_code
from provenance.checkpoints.folder import CONFIG, listing, read_object
from provenance.checkpoints.formats import detect_format, no_weights, unwanted, wanted
from provenance.checkpoints.safetensors_header import stored_tensors
from provenance.errors import SourceError, one_line
from provenance.store.files import file_sha256, is_sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from provenance.vocabulary import ModelSpec

    Progress = Callable[[int, int], None]

TIMEOUT = 10.0

_REVISION = re.compile(r"\w[\w.+\-]*(/\w[\w.+\-]*)*", re.ASCII)
_UNREADABLE = (AttributeError, KeyError, TypeError)
"""What `huggingface_hub` raises of answers that lack what it takes for granted."""
_COMMIT = re.compile(r"[0-9a-f]{40}")


def is_repo_id(text: str) -> bool:
    """Whether `text` can be a repository's id, by the rules of `huggingface_hub`."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(text)
    except HFValidationError:
        return False
    return True


def is_revision(text: str) -> bool:
    """Whether `text` can be a branch, tag or commit, and cannot lead out of the folders of the cache."""
    return _REVISION.fullmatch(text) is not None and ".." not in text


def cached_snapshot(spec: ModelSpec) -> Path | None:
    """Find the folder of a repository's snapshot in the local cache, whole or not; None without one.

    `huggingface_hub.try_to_load_from_cache` finds a file by its name, and of a repository of GGUF no name
    is known.
    """
    from huggingface_hub import constants

    repo, revision = spec.repo or "", spec.revision or "main"
    if not is_repo_id(repo) or not is_revision(revision):
        return None
    root = Path(constants.HF_HUB_CACHE) / ("models--" + repo.replace("/", "--"))
    try:
        commit = revision
        if not _COMMIT.fullmatch(revision):
            commit = (root / "refs" / revision).read_text(encoding="ascii").strip()
        snapshot = root / "snapshots" / commit
        return snapshot if _COMMIT.fullmatch(commit) and snapshot.is_dir() else None
    except (OSError, ValueError):
        return None


def fetch(
    spec: ModelSpec, progress: Progress | None = None, *, endpoint: str | None = None
) -> tuple[Path, str]:
    """Bring a hub repository's configuration, weights and tokenizer to a local folder.

    A full commit in the cache is not asked for again. If the hub cannot be reached, the newest cached
    snapshot of the branch serves. A cached file that lost its end, as in a crash of the machine, is
    downloaded again. Whether the files are sound is for `contents.inspect` to say.

    Parameters
    ----------
    spec : ModelSpec
        A spec with `repo`; without a `revision` the head of the default branch is taken.
    progress : callable, optional
        Called from several threads with the bytes that have arrived and the bytes of all files.
    endpoint : str, optional
        The hub's address; None: the environment's ``HF_ENDPOINT``, else the public hub.

    Returns
    -------
    folder : Path
        The snapshot.
    commit : str
        Its 40 hexadecimal digits.

    Raises
    ------
    SourceError
        The id or revision is not valid; the repository is absent, private, gated or disabled, or has
        nothing to load; the hub refuses the token, limits the rate, or cannot be reached.

    References
    ----------
    .. [1] https://huggingface.co/docs/huggingface_hub/guides/download
    """
    _expect_cache(spec)
    cached = cached_snapshot(spec)
    torn = [] if cached is None else _torn(cached)
    whole = cached if cached is not None and not torn and _is_whole(cached, spec) else None
    if whole is not None and _COMMIT.fullmatch(spec.revision or ""):
        return whole, whole.name
    try:
        patterns = _choose_files(spec, endpoint)
    except _UnreachableError:
        if whole is None:
            raise
        return whole, whole.name
    for blob in torn:  # huggingface_hub would keep it
        blob.unlink(missing_ok=True)
    folder = _download(spec, patterns, progress, endpoint)
    if whole is None or whole.name != folder.name:
        _check(spec, folder)
    return folder, folder.name


def repository_size(spec: ModelSpec, endpoint: str | None = None) -> int:
    """Ask the hub for the bytes of the files that `fetch` would bring, and bring nothing.

    Raises
    ------
    SourceError
        As `fetch`.
    """
    _, siblings = listed(spec, endpoint, metadata=True)
    files = {file.rfilename: file.size or 0 for file in siblings}
    patterns = wanted(
        sorted(files), allow_pickle=spec.allow_pickle, trust_remote_code=spec.trust_remote_code
    )
    if patterns is None:
        raise SourceError(f"{spec.source} {no_weights(sorted(files))}")
    left = unwanted(patterns)
    return sum(
        size
        for name, size in files.items()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
        and not any(fnmatchcase(name, pattern) for pattern in left)
    )


def read_texts(
    spec: ModelSpec, names: Sequence[str], limit: int, endpoint: str | None = None
) -> tuple[str, dict[str, Path]]:
    """Fetch small files of a repository, and no others.

    Returns
    -------
    commit : str
        The commit that the spec means today, 40 hexadecimal digits.
    files : dict
        Those of ``names`` that the repository has and that are no longer than ``limit`` bytes.

    Raises
    ------
    SourceError
        As `fetch`.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    _expect_cache(spec)
    commit, listed = _list_files(spec, endpoint)
    files = {}
    for name in set(names) & set(listed):
        where = {"repo_id": spec.repo or "", "filename": name, "revision": commit}
        with explained(spec):
            about = get_hf_file_metadata(hf_hub_url(**where, endpoint=endpoint), timeout=TIMEOUT)
            if (about.size or 0) <= limit:
                path = hf_hub_download(**where, endpoint=endpoint, library_name="provenance")
                files[name] = Path(path)
    return commit, files


def _expect_cache(spec: ModelSpec) -> None:
    """Refuse a cache below a home folder that is not there: a folder named "~" would be made here."""
    from huggingface_hub import constants

    if str(constants.HF_HUB_CACHE).startswith("~"):
        raise SourceError(
            f"{spec.source}: there is no home folder to keep what the hub gives in: set HF_HOME to a folder"
        )


def _check(spec: ModelSpec, folder: Path) -> None:
    """Compare downloaded files with their checksums: large ones are cached under their SHA-256."""
    for file in folder.iterdir():
        blob = file.resolve()
        if _is_damaged(blob):
            blob.unlink()
            raise SourceError(f"{spec.source}: {file.name} came damaged; download it again")


class _UnreachableError(SourceError):
    """The hub did not answer, so that the cache may serve instead."""


def _torn(snapshot: Path) -> list[Path]:
    """Find the cached weights of a snapshot that are neither sound nor the bytes that the hub has."""
    unsound = []
    for name in listing(snapshot):
        if name.endswith(".safetensors"):
            try:
                stored_tensors(snapshot / name)
            except SourceError:
                unsound.append((snapshot / name).resolve())
    return [blob for blob in unsound if blob.is_file() and _is_damaged(blob)]


def _is_damaged(blob: Path) -> bool:
    """Whether a cached file has another SHA-256 than its name, which of a large file is its SHA-256."""
    return is_sha256(blob.name) and file_sha256(blob) != blob.name


def _is_whole(snapshot: Path, spec: ModelSpec) -> bool:
    try:
        contents = detect_format(snapshot, allow_pickle=spec.allow_pickle)
        if contents.format in {"plain", "pickle"}:
            config = read_object(snapshot / CONFIG)
            if spec.trust_remote_code:
                has_code(snapshot, config)
    except (SourceError, OSError):
        return False
    return True


def _choose_files(spec: ModelSpec, endpoint: str | None) -> list[str]:
    """Ask for the files of a repository, and choose those to download."""
    _, names = _list_files(spec, endpoint)
    patterns = wanted(
        names, allow_pickle=spec.allow_pickle, trust_remote_code=spec.trust_remote_code
    )
    if patterns is None:
        raise SourceError(f"{spec.source} {no_weights(names)}")
    return patterns


def _list_files(spec: ModelSpec, endpoint: str | None) -> tuple[str, list[str]]:
    """Ask for the commit that the spec means today, and for the names of its files."""
    commit, siblings = listed(spec, endpoint)
    return commit, sorted(sibling.rfilename for sibling in siblings)


def listed(
    spec: ModelSpec, endpoint: str | None = None, *, metadata: bool = False
) -> tuple[str, Sequence[Any]]:
    """Ask for the commit that the spec means today, and for what the hub says of its files.

    Parameters
    ----------
    metadata : bool
        Whether sizes, and the SHA-256 of large files, are asked for as well.

    Returns
    -------
    commit : str
        40 hexadecimal digits.
    siblings : sequence of huggingface_hub.hf_api.RepoSibling
        The files.

    Raises
    ------
    SourceError
        As `fetch`.
    """
    from huggingface_hub import HfApi

    if not is_repo_id(spec.repo or ""):
        raise SourceError(f"{spec.repo!r} is not a repository's id; write org/name")
    if not is_revision(spec.revision or "main"):
        raise SourceError(f"{spec.revision!r} is not a revision; write a branch, tag or commit")
    with explained(spec):
        info = HfApi(endpoint=endpoint, library_name="provenance").model_info(
            spec.repo or "", revision=spec.revision, timeout=TIMEOUT, files_metadata=metadata
        )
    if info.sha is None or not _COMMIT.fullmatch(info.sha):
        raise SourceError(f"{spec.source}: the hub names no commit for it; check HF_ENDPOINT")
    return str(info.sha), info.siblings or []


def _download(
    spec: ModelSpec,
    patterns: list[str],
    progress: Progress | None,
    endpoint: str | None,
) -> Path:
    from huggingface_hub import snapshot_download

    with explained(spec):
        folder = snapshot_download(
            spec.repo or "",
            revision=spec.revision,  # by its name, so that the cache can find it again without a network
            allow_patterns=patterns,
            ignore_patterns=unwanted(patterns),
            tqdm_class=_meter(progress),
            endpoint=endpoint,
            library_name="provenance",
        )
    return Path(folder)


def _meter(progress: Progress | None) -> type[Any]:
    """Make a progress bar for `huggingface_hub` that draws nothing and tells `progress` instead."""
    from tqdm.std import tqdm  # type: ignore[import-untyped]

    class Meter(tqdm):  # type: ignore[misc]  # tqdm has no types
        monitor_interval = 0  # else tqdm starts a thread that outlives the download

        def __init__(self, *args: Any, **settings: Any) -> None:
            settings.pop("name", None)
            settings.update(file=StringIO(), disable=False)
            self._counts = settings.get("unit") == "B" and settings.get("desc") != _TRANSFER
            super().__init__(*args, **settings)

        def display(self, *_args: Any, **_settings: Any) -> bool:
            return True

        def update(self, n: float | None = 1) -> bool | None:
            shown = super().update(n)
            if progress is not None and self._counts and self.total:
                progress(min(int(self.n), int(self.total)), int(self.total))
            return bool(shown)

    Meter.set_lock(RLock())  # tqdm's own lock starts a process
    return Meter


# The hub's second bar counts the bytes on the wire, which deduplication makes fewer.
_TRANSFER = "Downloading bytes"


@contextmanager
def explained(spec: ModelSpec) -> Iterator[None]:
    """Turn what `huggingface_hub` raises into one line that says what to do."""
    # HTTPError is httpx's or httpx2's, whichever this huggingface_hub is built on
    from huggingface_hub.errors import HfHubHTTPError, HTTPError

    try:
        with quiet():
            yield
    except (HfHubHTTPError, HTTPError, OSError, ValueError, RuntimeError, *_UNREADABLE) as error:
        kind, text = _explain(error, spec)
        raise kind(f"{spec.source}: {text}") from error


def _explain(error: BaseException, spec: ModelSpec) -> tuple[type[SourceError], str]:
    from huggingface_hub import constants, errors

    # The downloaders hide the hub's answer behind a LocalEntryNotFoundError.
    if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, errors.OfflineModeIsEnabled) or constants.HF_HUB_OFFLINE:
        return _UnreachableError, _OFFLINE
    # Gated is a kind of not found: it comes first.
    named = (
        (errors.GatedRepoError, _GATED.format(repo=spec.repo)),
        (errors.RepositoryNotFoundError, _ABSENT),
        (
            errors.RevisionNotFoundError,
            f"it has no revision {spec.revision!r}; look at its branches",
        ),
        (errors.DisabledRepoError, "the hub has disabled this repository"),
        (errors.EntryNotFoundError, "a file of it is missing on the hub; try another revision"),
        (errors.HFValidationError, "not a repository's id; write org/name"),
    )
    for kind, text in named:
        if isinstance(error, kind):
            return SourceError, text
    if isinstance(error, _UNREADABLE):
        return (
            SourceError,
            f"the hub's answer is none of a hub ({one_line(error)}); check HF_ENDPOINT",
        )
    response = getattr(error, "response", None)
    if response is not None:
        return _explain_status(response.status_code, response.headers.get("X-Error-Message", ""))
    if isinstance(error, errors.HTTPError | ConnectionError | TimeoutError):
        return _UnreachableError, _UNREACHABLE
    return SourceError, f"it cannot be downloaded ({one_line(error)})"


def _explain_status(status: int, message: str) -> tuple[type[SourceError], str]:
    # the hub answers 401 for what is not there; huggingface_hub knows that of https endpoints only
    if status == 401 and "Invalid credentials" not in message:
        return SourceError, _ABSENT
    if status == 429:
        return _UnreachableError, "the hub limits the rate (429); wait a few minutes or log in"
    if status in {401, 403}:
        return SourceError, f"the hub refuses access ({status}); log in again: hf auth login"
    if status >= 500:
        return _UnreachableError, f"the hub has trouble ({status}); try again later"
    return SourceError, f"the hub answers {status}; check HF_ENDPOINT and the id"


_GATED = "gated; ask for access on https://huggingface.co/{repo}, then log in: hf auth login"
_ABSENT = "there is no such repository, or it is private; check the id, or log in: hf auth login"
_OFFLINE = "not in the local cache, and HF_HUB_OFFLINE is set; unset it, or download it before"
_UNREACHABLE = "the hub cannot be reached; check the network, or give a local folder as path:"
