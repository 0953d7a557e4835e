"""A server on this machine that sends files as told: whole, broken off, without a length, moved, and with or without ranges."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Server(http.server.BaseHTTPRequestHandler):
    """Serves `files`; breaks off after `most` bytes; knows ranges unless told otherwise."""

    files: dict[str, bytes]
    most: int | None
    ranges: bool
    asked: list[str | None]
    moved: dict[str, str]
    told = True

    def do_GET(self) -> None:
        kind = type(self)
        kind.asked.append(self.headers.get("Range"))
        if self.path in kind.moved:
            self.send_response(302)
            self.send_header("Location", kind.moved[self.path])
            self.end_headers()
            return
        content = kind.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        asked = self.headers.get("Range") if kind.ranges else None
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if start and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if kind.told:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: kind.most])

    def log_message(self, *_: object) -> None:
        """Silence."""


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[tuple[type[Server], str]]:
    """A running server of these files, and the address of its root."""
    kind = type("Kind", (Server,), {"files": dict(files), "most": None, "ranges": True, "asked": [], "moved": {}})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield kind, f"http://127.0.0.1:{running.server_address[1]}"
        finally:
            running.shutdown()
            thread.join()
