"""One rule for the host names that requests may use, against DNS rebinding: a page of another site cannot read the answers.

Only the standard library is needed, so that `lilift watch` has the same rule as `lilift serve`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Sequence

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_HOST = re.compile(r"(?P<name>[A-Za-z0-9._~-]+|\[(?P<ipv6>[0-9A-Fa-f:.]+)\])(:(?P<port>[0-9]{0,5}))?\Z")
_MOST_PORT = 65535


def host_name(header: str) -> str | None:
    """The host name in a Host header, in small letters and without its port; None if the header is not valid."""
    found = _HOST.match(header)
    if found is None or int(found["port"] or 0) > _MOST_PORT:
        return None
    if found["ipv6"] is None:
        return found["name"].lower()
    try:
        return str(ipaddress.IPv6Address(found["ipv6"]))
    except ValueError:
        return None


def host_fault(headers: Sequence[str], accepted: Collection[str] | None) -> tuple[int, str] | None:
    """Why a request is refused for its Host headers: the HTTP status and the reason. None if it is accepted.

    Args:
        headers: the values of all Host headers of the request.
        accepted: names that requests may use; None accepts any valid name, or none at all.
    """
    names = [host_name(header) for header in headers]
    if len(names) > 1 or None in names:
        return 400, "the Host header is not valid; send one host name, with or without a port"
    if accepted is None or (names and names[0] in accepted):
        return None
    named = repr(names[0]) if names else "that is missing"
    return 403, f"this server does not accept the host name {named}; call it as 127.0.0.1"
