"""A hub on 127.0.0.1: enough of the protocol for `huggingface_hub` to look up and download."""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """The repository ``org/tiny``, whose answers a test can change while it runs, and ``others``.

    ``answers`` maps "info", "tree" or "resolve" to ``(status, X-Error-Code, X-Error-Message)``. The
    files in ``large`` are kept as the hub keeps large files: under their SHA-256, on a server that
    ``resolve`` redirects to. The first ``cuts`` answers of that server break off half-way. After
    those, ``stalls`` answers come to half, and no further before the hub is shut: ``stalled`` says
    when the first of them has.

    ``digest`` stands in the place of every SHA-256 that is listed; where it is empty, none is listed, and
    only the redirect to a large file says it.

    All files are answered in ranges, unless ``whole``; ``lie`` puts headers and a body in the place of
    those of a range. ``moved`` counts the bytes of all bodies.
    """

    files: Mapping[str, bytes]
    endpoint: str = ""
    revisions: tuple[str, ...] = ("main", COMMIT)
    answers: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    large: set[str] = field(default_factory=set)
    digest: str | None = None
    cuts: int = 0
    stalls: int = 0
    stalled: Event = field(default_factory=Event)
    shut: Event = field(default_factory=Event)
    ranges: list[str] = field(default_factory=list)
    others: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    whole: bool = False
    lie: Callable[[dict[str, str], bytes], tuple[dict[str, str], bytes]] | None = None
    moved: int = 0

    def ranged(
        self, asked: Mapping[str, str], answer: tuple[int, dict[str, str], bytes]
    ) -> tuple[int, dict[str, str], bytes]:
        """The part of an answer that a request wants."""
        status, headers, body = answer
        if status != 200:
            return answer
        if asked.get("If-Match") not in {None, headers.get("ETag")}:
            return 412, {}, b""
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", asked.get("Range", ""))
        if wanted is None or self.whole:
            return answer
        start = int(wanted[1])
        stop = min(len(body), int(wanted[2]) + 1) if wanted[2] else len(body)
        if start >= stop:
            return 416, {"Content-Range": f"bytes */{len(body)}"}, b""
        headers = headers | {"Content-Range": f"bytes {start}-{stop - 1}/{len(body)}"}
        body = body[start:stop]
        if self.lie is not None:
            headers, body = self.lie(headers, body)
        return 206, headers, body

    def reply(self, path: str) -> tuple[int, dict[str, str], bytes]:
        for repo, files in {"org/tiny": self.files, **self.others}.items():
            api, resolve = f"/api/models/{repo}/", f"/{repo}/resolve/"
            if f"{path}/".startswith(api):
                return self._api(
                    repo, files, path.removeprefix(api.rstrip("/")).strip("/").split("/")
                )
            if path.startswith(resolve):
                return self._file(files, path.removeprefix(resolve).partition("/")[2])
        if path.startswith("/large/"):
            data = self.files[path.removeprefix("/large/")]
            return 200, {"Accept-Ranges": "bytes", "ETag": f'"{etag(data)}"'}, data
        return refusal(401, "", "Invalid username or password.")

    def _api(
        self, repo: str, files: Mapping[str, bytes], rest: list[str]
    ) -> tuple[int, dict[str, str], bytes]:
        kind = "tree" if rest[:1] == ["tree"] else "info"
        if kind in self.answers:
            return refusal(*self.answers[kind])
        if len(rest) > 1 and rest[1] not in self.revisions:
            return refusal(404, "RevisionNotFound", "Invalid rev id")
        return page(_tree(files) if kind == "tree" else self._info(repo, files))

    def _info(self, repo: str, files: Mapping[str, bytes]) -> dict[str, Any]:
        siblings = [{"rfilename": name, **self._about(name, data)} for name, data in files.items()]
        return {"id": repo, "sha": COMMIT, "siblings": siblings}

    def _about(self, name: str, data: bytes) -> dict[str, Any]:
        about: dict[str, Any] = {"size": len(data), "blobId": etag(data)}
        if name in self.large and self.digest != "":
            sha256 = self.digest or hashlib.sha256(data).hexdigest()
            about["lfs"] = {"size": len(data), "sha256": sha256, "pointerSize": 134}
        return about

    def _file(self, files: Mapping[str, bytes], name: str) -> tuple[int, dict[str, str], bytes]:
        if "resolve" in self.answers:
            return refusal(*self.answers["resolve"])
        if name not in files:
            return refusal(404, "EntryNotFound", "Entry not found")
        data = files[name]
        if name in self.large:
            # another host, as the hub has it: within one, the client would not look at this answer
            home = self.endpoint.replace("127.0.0.1", "localhost")
            headers = {"Location": f"{home}/large/{name}", "X-Repo-Commit": COMMIT}
            headers["X-Linked-Etag"] = f'"{hashlib.sha256(data).hexdigest()}"'
            return 302, headers | {"X-Linked-Size": str(len(data))}, b""
        return 200, {"ETag": f'"{etag(data)}"', "X-Repo-Commit": COMMIT}, data

    def fetched(self) -> set[str]:
        """The names of the files whose content was asked for."""
        marker = f"/resolve/{COMMIT}/"
        gets = [line.split(" ")[1] for line in self.requests if line.startswith("GET ")]
        return {path.partition(marker)[2] for path in gets if marker in path}


def _tree(files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    return [
        {"type": "file", "path": name, "size": len(data), "oid": etag(data)}
        for name, data in files.items()
    ]


def etag(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def page(value: Any) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()


def refusal(status: int, code: str, message: str) -> tuple[int, dict[str, str], bytes]:
    headers = {"X-Error-Code": code, "X-Error-Message": message}
    return status, {key: text for key, text in headers.items() if text}, b"{}"


@contextmanager
def serve(files: Mapping[str, bytes]) -> Iterator[Hub]:
    """Run a hub with `files` until the block ends."""
    hub = Hub(files)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append(f"{self.command} {path}")
            is_content = path.startswith("/large/") or "/resolve/" in path
            status, headers, body = hub.reply(path)
            if is_content and self.headers.get("Range"):
                status, headers, body = hub.ranged(self.headers, (status, headers, body))
                if path.startswith("/large/") or status == 206:
                    hub.ranges.append(self.headers["Range"])
            self.send_response(status)
            for key, text in headers.items():
                self.send_header(key, text)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                hub.moved += len(body)
            is_cut = path.startswith("/large/") or (status == 206 and len(body) > 1)
            if self.command == "GET" and is_cut and hub.cuts:
                hub.cuts -= 1
                self.wfile.write(body[: len(body) // 2])
                self.close_connection = True
            elif self.command == "GET" and path.startswith("/large/") and hub.stalls:
                hub.stalls -= 1
                self.wfile.write(body[: len(body) // 2])
                hub.stalled.set()
                hub.shut.wait()
                self.close_connection = True
            elif self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = answer  # noqa: N815

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # who hangs up has read enough
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shut.set()
        server.shutdown()
        server.server_close()
        thread.join()
