"""A server of ranges of files that counts what it sends, and sends no faster than a line of some width."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK = 1 << 18


class Line:
    """What all connections share: so many bytes a second, and the count of those that were sent.

    Attributes
    ----------
    sent, requests : int
        Bytes of bodies and requests since the last `reset`.
    """

    def __init__(self, bytes_a_second: float) -> None:
        self._rate = bytes_a_second
        self._free = time.monotonic()
        self._turn = Lock()
        self.reset()

    def reset(self) -> None:
        """Count from 0."""
        self.sent = self.requests = 0

    def wait(self, number: int) -> None:
        """Wait until so many bytes are through."""
        with self._turn:
            self.sent += number
            self._free = max(self._free, time.monotonic()) + number / self._rate
            until = self._free
        time.sleep(max(0.0, until - time.monotonic()))


@contextmanager
def serve(folder: Path, bytes_a_second: float) -> Iterator[tuple[str, Line]]:
    """Serve a folder until the block ends; yields its address and the line that it is at."""
    line = Line(bytes_a_second)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            line.requests += 1
            file = folder / unquote(urlsplit(self.path).path).lstrip("/")
            asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if not file.is_file() or asked is None:
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            size = file.stat().st_size
            start, stop = int(asked[1]), min(size, int(asked[2]) + 1)
            self.send_response(206)
            self.send_header("ETag", f'"{file.parent.name}-{size}"')
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
            self.send_header("Content-Length", str(stop - start))
            self.end_headers()
            self._send(file, start, stop)

        def _send(self, file: Path, start: int, stop: int) -> None:
            with file.open("rb", buffering=0) as opened:
                opened.seek(start)
                while start < stop:
                    part = opened.read(min(CHUNK, stop - start))
                    line.wait(len(part))
                    self.wfile.write(part)
                    start += len(part)

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who hangs up has read enough
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", line
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
