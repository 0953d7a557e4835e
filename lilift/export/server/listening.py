"""Opens the server's socket, and runs the server until the user stops it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import h11
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from lilift.export.server.chat_requests import RequestError
from lilift.recipe.errors import EnvironmentUnfit

MOST_CONNECTIONS = 200
"""Open connections, below the limit of files of a process (256 on macOS, 1,024 on Linux)."""
HEADER_SECONDS = 10.0
_SECONDS_TO_FINISH = 3


@contextmanager
def listen(host: str, port: int) -> Iterator[tuple[socket.socket, str]]:
    """A listening socket, and its address as the user types it.

    Args:
        host: a name or an address.
        port: the port; 0 takes a free one.

    Raises:
        EnvironmentUnfit: the address is in use or does not belong to this machine.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        found = socket.create_server(address[:2], family=family)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise EnvironmentUnfit(
            f"lilift cannot listen on {host}, port {port} ({reason})",
            remedy="choose another host or port with --host and --port",
        ) from None
    with found:
        shown = f"[{host}]" if ":" in host else host
        yield found, f"http://{shown}:{found.getsockname()[1]}"


def server_of(
    application: Starlette, *, header_seconds: float = HEADER_SECONDS, most_connections: int = MOST_CONNECTIONS
) -> uvicorn.Server:
    """A server that runs an application.

    Args:
        application: from `build_application`.
        header_seconds: time in which the header of a request must arrive.
        most_connections: open connections; a further one replaces the oldest that has not sent a whole request.
    """

    class Connection(_Connection):
        seconds, most = header_seconds, most_connections

    config = uvicorn.Config(
        application,
        http=Connection,
        ws="none",
        log_level="error",  # clients that send rubbish must not fill the terminal
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_SECONDS_TO_FINISH,
    )
    return _Server(config, application.state.stop)


def serve(application: Starlette, listening: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM; requests that wait or run then get an answer that says so."""
    server_of(application).run(sockets=[listening])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._stop = stop

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stop()
        await super().shutdown(sockets)


class _Connection(H11Protocol):
    """A connection that must send its requests in time, and that makes room if too many are open.

    Connections that have sent no whole header cost almost nothing, so they count for no limit of requests. Everybody could
    open as many as that limit allows, and would keep out the clients that have the key.
    """

    seconds = HEADER_SECONDS
    most = MOST_CONNECTIONS

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._deadline: asyncio.TimerHandle | None = None
        self.opened = self.loop.time()

    @property
    def between_requests(self) -> bool:
        """No request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def incomplete(self) -> bool:
        """The client has to send more before the server can answer."""
        return self.between_requests or self.cycle.more_body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()
        if len(self.connections) > self.most:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Start the clock if the next header is missing; more of it does not start the clock again."""
        if not self.between_requests:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None
        elif self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self.seconds, self._too_late)

    def _too_late(self) -> None:
        if self.transport.is_closing():
            return
        if self.conn.our_state is h11.IDLE and self.conn.trailing_data[0]:  # a part of a header
            message = f"the header did not arrive within {self.seconds:g} seconds; check the connection and send it again"
            content = json.dumps(RequestError(408, message, code="request_timeout").as_dict()).encode()
            head = f"HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n"
            self.transport.write(head.encode() + b"Connection: close\r\n\r\n" + content)
        self.transport.close()

    def _make_room(self) -> None:
        """Close the oldest connection of those that have sent no header, or else of those that have sent a part of a body."""
        others = [one for one in self.connections if isinstance(one, _Connection) and one is not self and one.incomplete]
        oldest = min(others, key=lambda one: (not one.between_requests, one.opened), default=self)
        oldest.transport.abort()
        self.connections.discard(oldest)
