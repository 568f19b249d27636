"""The files of one commit of a hub repository."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from provenance._text import visible
from provenance._threads import spread
from provenance.checkpoints.formats import is_gguf
from provenance.checkpoints.hub import TIMEOUT, explained, listed
from provenance.checkpoints.ranged.http import get_range
from provenance.checkpoints.ranged.origin import SIDE_BY_SIDE, ChangedError, RemoteFile
from provenance.errors import SourceError
from provenance.store.files import is_sha256

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from huggingface_hub.file_download import HfFileMetadata
    from huggingface_hub.hf_api import RepoSibling

    from provenance.store.store import JSON
    from provenance.vocabulary import ModelSpec


class HubFiles:
    """Satisfies `provenance.checkpoints.ranged.origin.Origin`.

    Parameters
    ----------
    spec : ModelSpec
        With `repo`; its revision is looked up once, and every range is of that commit.
    endpoint : str, optional
        The hub's address; None: the environment's ``HF_ENDPOINT``, else the public hub.

    Raises
    ------
    SourceError
        As `provenance.checkpoints.hub.fetch`; or what the hub says is a SHA-256 is none.
    """

    keeps = True

    def __init__(self, spec: ModelSpec, endpoint: str | None = None) -> None:
        self._spec, self._endpoint = spec, endpoint
        self.commit, siblings = listed(spec, endpoint, metadata=True)
        self.source = f"repo:{spec.repo}@{self.commit}"
        self.identity: JSON = {"repo": spec.repo, "commit": self.commit}
        answers = self._answers(siblings)
        self.files: Mapping[str, RemoteFile] = {
            one.rfilename: self._known(one, answers.get(one.rfilename)) for one in siblings
        }
        self._etags: dict[str, str] = {}
        self._seeing = Lock()

    def read(self, file: RemoteFile, start: int, stop: int) -> bytes:
        """Read a range; see `Origin`."""
        from huggingface_hub.utils import build_hf_headers

        label = f"{self.source}: {file.name}"
        headers = build_hf_headers(library_name="provenance")
        data, etag = get_range(self._url(file.name), (start, stop), file.size, headers, label)
        with self._seeing:
            if self._etags.setdefault(file.name, etag) != etag:
                raise ChangedError(label)
        return data

    def check(self, file: RemoteFile) -> None:
        """A commit does not change."""

    def _url(self, name: str) -> str:
        from huggingface_hub import hf_hub_url

        return str(
            hf_hub_url(self._spec.repo or "", name, revision=self.commit, endpoint=self._endpoint)
        )

    def _known(self, listed_file: RepoSibling, answer: HfFileMetadata | None) -> RemoteFile:
        """What the listing says of a file, else the answer that leads to its content."""
        name, size = listed_file.rfilename, listed_file.size
        sha256 = None if listed_file.lfs is None else listed_file.lfs.sha256
        if answer is not None:
            size = answer.size or 0 if size is None else size
            # the ETag of a large file is its SHA-256, whether it is listed with that or not
            sha256 = answer.etag if sha256 is None and is_sha256(answer.etag) else sha256
        if sha256 is not None and not is_sha256(sha256):
            raise SourceError(
                f"{self.source}: the hub says that the SHA-256 of {name} is {visible(str(sha256))[:80]!r}, "
                "which is none; check HF_ENDPOINT"
            )
        return RemoteFile(name, int(size or 0), self.commit, sha256)

    def _answers(self, siblings: Iterable[RepoSibling]) -> dict[str, HfFileMetadata]:
        """Ask for what the listing does not say: a size, or what weights are as a whole."""
        from huggingface_hub import get_hf_file_metadata

        names = [
            one.rfilename
            for one in siblings
            if one.size is None or (one.lfs is None and _are_weights(one.rfilename))
        ]

        def ask(name: str) -> HfFileMetadata:
            return get_hf_file_metadata(self._url(name), timeout=TIMEOUT)

        with explained(self._spec):
            return dict(zip(names, spread(ask, names, SIDE_BY_SIDE), strict=True))


def _are_weights(name: str) -> bool:
    return name.endswith(".safetensors") or is_gguf(name)
