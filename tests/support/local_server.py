"""A server on 127.0.0.1 whose answers a function gives."""

from __future__ import annotations

from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Answer = tuple[int, dict[str, str], bytes]
    Reply = Callable[[str, dict[str, str]], Answer]
    Posted = Callable[[str, dict[str, str], bytes], Answer]


@contextmanager
def answering(reply: Reply, posted: Posted | None = None) -> Iterator[str]:
    """Serve until the block ends; yields ``127.0.0.1:PORT``.

    ``reply`` is given the path with its query, and the headers by their names in small letters; ``posted``
    the body too. A body that is shorter than its header ``Content-Length`` says breaks off.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(*reply(self.path, self.asked()))

        def do_POST(self) -> None:
            asked = self.asked()
            body = self.rfile.read(int(asked["content-length"]))
            self.answer(*(posted or no_post)(self.path, asked, body))

        def asked(self) -> dict[str, str]:
            return {name.lower(): text for name, text in self.headers.items()}

        def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, text in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def no_post(_path: str, _headers: dict[str, str], _body: bytes) -> Answer:
    """Refuse what is posted to a server that takes nothing."""
    return 405, {}, b""
