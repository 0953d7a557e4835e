"""Opens the server's socket, and runs the server until the user stops it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette

from lilift.recipe.errors import EnvironmentUnfit

_MOST_CONNECTIONS = 128
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
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise EnvironmentUnfit(
            f"lilift cannot listen on {host}, port {port} ({reason})",
            remedy="choose another host or port with --host and --port",
        ) from None
    with found:
        shown = f"[{host}]" if ":" in host else host
        yield found, f"http://{shown}:{found.getsockname()[1]}"


def serve(application: Starlette, listening: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM; the running answer then has a few seconds to stop."""
    config = uvicorn.Config(
        application,
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=_SECONDS_TO_FINISH,
    )
    uvicorn.Server(config).run(sockets=[listening])
