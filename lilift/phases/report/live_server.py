"""Serves the report of a run on this machine while the run goes on. The page loads itself again; it needs no script."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lilift.export.server.host_names import LOOPBACK, host_fault
from lilift.phases.report.page import report_page
from lilift.recipe.errors import EnvironmentUnfit

ADDRESS = "127.0.0.1"
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_RELOAD = '<meta http-equiv="refresh" content="{}">'
_WATCHED = ("*.json", "*.jsonl", "*/*.json", "*/*.jsonl")


class LiveReport:
    """The page of a run as its folder is now. lilift writes it again only if a file has changed.

    Args:
        run: the run folder.
        seconds: time after which the browser loads the page again.
    """

    def __init__(self, run: Path, seconds: int) -> None:
        self._run, self._seconds = run, seconds
        self._lock = threading.Lock()
        self._state: object = None
        self._page = b""

    def page(self) -> bytes:
        """The HTML page, in UTF-8."""
        with self._lock:
            state = self._state_of_files()
            if state != self._state:
                text = report_page(self._run)
                self._page = text.replace("<head>", f"<head>\n{_RELOAD.format(self._seconds)}", 1).encode("utf-8")
                self._state = state
            return self._page

    def _state_of_files(self) -> list[tuple[str, int, int]]:
        found = []
        for pattern in _WATCHED:
            for path in self._run.glob(pattern):
                try:
                    facts = path.stat()
                except OSError:  # the run has just replaced or removed it
                    continue
                found.append((str(path), facts.st_mtime_ns, facts.st_size))
        return sorted(found)


def live_server(report: LiveReport, port: int) -> ThreadingHTTPServer:
    """A server for this machine alone, not yet started. Port 0 takes a free port.

    Raises:
        EnvironmentUnfit: another program uses the port.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fault = host_fault(self.headers.get_all("Host") or [], LOOPBACK)
            if fault is not None:
                self.send_error(*fault)
            elif self.path.partition("?")[0] != "/":
                self.send_error(404)
            else:
                self._send(report.page())

        def _send(self, page: bytes) -> None:
            self.send_response(200)
            for name, value in (
                ("Content-Type", "text/html; charset=utf-8"),
                ("Content-Length", str(len(page))),
                ("Cache-Control", "no-store"),
                ("Content-Security-Policy", _POLICY),
                ("X-Content-Type-Options", "nosniff"),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            """Print no line for each request."""

    try:
        server = ThreadingHTTPServer((ADDRESS, port), Handler)
    except OSError as error:
        raise EnvironmentUnfit(
            f"cannot listen on port {port} ({error.strerror})", remedy="give another one with --port, or --port 0"
        ) from None
    server.daemon_threads = True
    return server
