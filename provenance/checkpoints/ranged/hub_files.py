"""The files of one commit of a hub repository."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from provenance.checkpoints.hub import TIMEOUT, explained, listed
from provenance.checkpoints.ranged.http import get_range
from provenance.checkpoints.ranged.origin import ChangedError, RemoteFile

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        As `provenance.checkpoints.hub.fetch`.
    """

    keeps = True

    def __init__(self, spec: ModelSpec, endpoint: str | None = None) -> None:
        self._spec, self._endpoint = spec, endpoint
        self.commit, siblings = listed(spec, endpoint, metadata=True)
        self.source = f"repo:{spec.repo}@{self.commit}"
        self.identity: JSON = {"repo": spec.repo, "commit": self.commit}
        self.files: Mapping[str, RemoteFile] = {
            one.rfilename: RemoteFile(
                one.rfilename,
                self._size(one.rfilename) if one.size is None else int(one.size),
                self.commit,
                None if one.lfs is None else one.lfs.sha256,
            )
            for one in siblings
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

    def _size(self, name: str) -> int:
        from huggingface_hub import get_hf_file_metadata

        with explained(self._spec):
            return int(get_hf_file_metadata(self._url(name), timeout=TIMEOUT).size or 0)
