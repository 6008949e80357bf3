"""Who a request comes from: the address of its socket, or the one that its proxies report.

Proxies do not agree on how to write it. nginx, Caddy, HAProxy and AWS's load balancer append a bare
address to `X-Forwarded-For`, HAProxy in a header line of its own; Azure's gateway always adds the
port, AWS's when asked to; HAProxy can write `Forwarded` (RFC 7239) instead, with brackets, quotes
and ports; "unknown" and made-up names occur in both. Requests whose address cannot be read are not
counted together: one stranger would lock out all others.
"""

from __future__ import annotations

import ipaddress
import logging
import threading
from collections.abc import Callable

_log = logging.getLogger(__name__)

_NO_ADDRESS = (
    "trusted_proxies is %s, but a request came with %s in %s: expected an address from each proxy. "
    "Such visitors cannot be told apart, so they are not limited; docs/operations.md has examples "
    "of proxies"
)
_NOT_TRUSTED = (
    "A request came with %s, but trusted_proxies is 0: if there is a proxy in front, all its "
    "visitors count as one client; set trusted_proxies"
)
_HEADERS = ("X-Forwarded-For", "Forwarded")


class Clients:
    """Tells clients apart, for limits. Thread-safe.

    Args:
        trusted_proxies: How many there are in front; each reports the address of its own client.
    """

    def __init__(self, trusted_proxies: int) -> None:
        self._proxies = trusted_proxies
        self._logged: set[str] = set()
        self._lock = threading.Lock()

    def client_of(self, peer: str | None, header: Callable[[str], str | None]) -> str | None:
        """Return the client, see `client_named`; None where it is unknown, which is logged once.

        Args:
            peer: The address of the socket.
            header: Returns a header by its name; of several lines, joined with commas.
        """
        name = next((name for name in _HEADERS if header(name) is not None), None)
        if not self._proxies:
            if name is not None:
                self._log_once(_NOT_TRUSTED, name)
            return client_named(peer or "")
        reported = _reported_by_proxies(name or "", (name and header(name)) or "")
        client = client_named(reported[-self._proxies]) if len(reported) >= self._proxies else None
        if client is None:
            found = "too few entries" if len(reported) < self._proxies else "no address"
            self._log_once(_NO_ADDRESS, self._proxies, found, name or _HEADERS[0])
        return client

    def _log_once(self, message: str, *values: object) -> None:
        # The header itself is not logged: it may hold somebody's address.
        with self._lock:
            if message in self._logged:
                return
            self._logged.add(message)
        _log.warning(message, *values)


def _reported_by_proxies(name: str, value: str) -> list[str]:
    """Return the client of each proxy, that of the last proxy last.

    No address holds a comma, so quotes are not respected: a client that opens one must not hide
    what its proxy adds.
    """
    elements = [element.strip() for element in value.split(",")]
    if name == "Forwarded":
        return [_for_of(element) for element in elements if element]
    return [element for element in elements if element]


def _for_of(element: str) -> str:
    """Return what one element of `Forwarded` has under "for"; "" where it has none."""
    for pair in element.split(";"):
        key, _, value = pair.partition("=")
        if key.strip().lower() == "for":
            return value.strip()
    return ""


def client_named(text: str) -> str | None:
    """Return what counts as one client: an IPv4 address, or the /64 of one IPv6 subscriber.

    Args:
        text: An address as a socket or a proxy gives it, with or without port, brackets, quotes.
            A made-up name that begins with "_" (RFC 7239, 6.3) is a client too.

    Returns:
        None where it is neither.
    """
    text = text.strip().strip('"')
    if text.startswith("_"):
        return text.partition(":")[0][:64]
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    # An IPv6 address with a port but no brackets may be valid as it is, with the port as its last
    # group; the /64 is the same either way.
    for candidate in (text, text.rpartition(":")[0]):
        try:
            ip = ipaddress.ip_address(candidate.partition("%")[0])
        except ValueError:
            continue
        if isinstance(ip, ipaddress.IPv6Address):
            mapped = ip.ipv4_mapped
            return str(mapped or ipaddress.ip_network((int(ip), 64), strict=False).network_address)
        return str(ip)
    return None
