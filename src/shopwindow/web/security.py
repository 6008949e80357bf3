"""Who may ask, how often, and what a browser may do with the answer."""

from __future__ import annotations

import hmac
import ipaddress
import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import cache

from flask import Flask, Response, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import TooManyRequests, Unauthorized
from werkzeug.middleware.proxy_fix import ProxyFix

from shopwindow.settings import Settings
from shopwindow.web.problem import wants_json

_log = logging.getLogger(__name__)

# Nothing inline and nothing from another host: what an attacker might smuggle into a label or a
# file name cannot run, and an upload cannot leave. Nobody may frame, embed or script the app.
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self' data: blob:; style-src 'self'; script-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": (
        "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# Probes and style sheets give nothing away, and whoever asks for them has no key at hand.
_OPEN_ENDPOINTS = frozenset({"api.live", "api.ready", "static"})

_MINUTE_S = 60.0
MAX_CLIENTS = 100_000  # some 15 MB; the one that was silent longest is forgotten first


def secure(app: Flask, settings: Settings) -> None:
    """Add what the settings ask for: believed proxies, a key, a rate limit; and all headers."""
    if settings.trusted_proxies:
        count = settings.trusted_proxies
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=count, x_proto=count, x_host=0
        )
    if settings.api_key:
        app.before_request(_key_check(settings.api_key))
    if settings.rate_limit:
        app.before_request(_rate_check(settings.rate_limit))

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers.update(SECURITY_HEADERS)
        if request.endpoint != "static":
            response.headers.setdefault("Cache-Control", "no-store")
        return response


def _key_check(api_key: str) -> Callable[[], None]:
    expected = api_key.encode()

    def check() -> None:
        if request.endpoint in _OPEN_ENDPOINTS:
            return
        if not hmac.compare_digest(_given_key().encode(), expected):
            scheme = "bearer" if wants_json() else "basic"
            raise Unauthorized(
                "This app wants a key: send it as 'Authorization: Bearer KEY', or type it as the "
                "password when your browser asks.",
                www_authenticate=WWWAuthenticate(scheme, {"realm": "shopwindow"}),
            )

    return check


def _given_key() -> str:
    given = request.authorization
    if given is None:
        return ""
    if given.type == "basic":
        # A browser asks its user for a name and a password, and then sends them by itself, for what
        # the script of the page fetches too. Any name will do.
        return given.password or ""
    return (given.token or "") if given.type == "bearer" else ""


def _rate_check(per_minute: int) -> Callable[[], None]:
    # Apart, so that who has sent many photos may still say of each what it is.
    of_pictures, of_feedback = RateLimit(per_minute), RateLimit(per_minute)

    def check() -> None:
        # Nothing else makes the model run: the other pages cost next to nothing.
        if request.method != "POST" and "example" not in request.args:
            return
        if request.blueprint == "review":
            return  # whose reviewer is quicker than that, and who limits attempts by itself
        limit = of_feedback if "feedback" in request.path else of_pictures
        wait_s = limit.take(client_of(request.remote_addr))
        if wait_s > 0:
            seconds = math.ceil(wait_s)
            raise TooManyRequests(
                f"At most {per_minute} requests a minute: "
                f"please try again in {seconds} second{'s' if seconds > 1 else ''}.",
                retry_after=seconds,
            )

    return check


def client_of(address: str | None) -> str:
    """Return what counts as one client: an IPv4 address, or the /64 that one IPv6 line gets.

    Args:
        address: As a socket or a proxy tells it; some proxies add the port (Azure's gateway, AWS's
            load balancer when it is asked to). What is no address counts as a client by itself, so
            that one proxy's habit does not make one client of all visitors.
    """
    if not address:
        return "unknown"  # a Unix socket, behind which nobody tells addresses
    text = address.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        _warn_of_forwarded_names()
        return f"not an address: {text[:64]}"
    if isinstance(ip, ipaddress.IPv6Address):
        mapped = ip.ipv4_mapped
        return str(mapped or ipaddress.ip_network((int(ip), 64), strict=False).network_address)
    return str(ip)


@cache
def _warn_of_forwarded_names() -> None:
    """Say it once; the text itself may be somebody's."""
    _log.warning(
        "X-Forwarded-For: expected an IPv4 or IPv6 address, with or without a port, found "
        "something else; such visitors are told apart by that text"
    )


class RateLimit:
    """So many requests a minute for each client, all at once if it likes. Thread-safe.

    The "generic cell rate algorithm" (ITU-T I.371): one time per client says when its credit will
    be whole again, which costs the same however many requests there were. Why this is no library:
    docs/decisions/server.md.

    Args:
        per_minute: Requests per client and minute, at least 1.
        clock: Returns seconds; for tests.
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute = per_minute
        self._interval_s = _MINUTE_S / per_minute
        self._clock = clock
        self._whole_again_s: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, client: str) -> float:
        """Take one request from a client's credit; return the seconds to wait, 0 if there is some.

        A request that has to wait costs nothing.
        """
        with self._lock:
            now_s = self._clock()
            whole_again_s = max(self._whole_again_s.get(client, now_s), now_s) + self._interval_s
            # The tolerance is the rounding error of floats, so that a full minute has all of them.
            wait_s = whole_again_s - now_s - _MINUTE_S
            if wait_s > 1e-6:
                return wait_s
            self._whole_again_s[client] = whole_again_s
            self._whole_again_s.move_to_end(client)
            self._forget(now_s)
            return 0.0

    def _forget(self, now_s: float) -> None:
        while self._whole_again_s:
            oldest = next(iter(self._whole_again_s))
            if len(self._whole_again_s) <= MAX_CLIENTS and self._whole_again_s[oldest] > now_s:
                return
            del self._whole_again_s[oldest]
