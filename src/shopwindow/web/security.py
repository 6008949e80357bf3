"""Who may ask, how often, and what a browser may do with the answer."""

from __future__ import annotations

import hmac
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from flask import Flask, Response, request
from werkzeug.datastructures import Authorization, WWWAuthenticate
from werkzeug.exceptions import TooManyRequests, Unauthorized
from werkzeug.middleware.proxy_fix import ProxyFix

from shopwindow.settings import Settings
from shopwindow.web.clients import Clients
from shopwindow.web.problem import wants_json

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


class Access:
    """Says who is let in, for the app and for the server's loop alike. Thread-safe.

    Args:
        settings: The key, the rate limit and how many proxies are believed.

    Attributes:
        clients: Tells clients apart.
    """

    def __init__(self, settings: Settings) -> None:
        self.clients = Clients(settings.trusted_proxies)
        self._key = settings.api_key.encode()
        self._per_minute = settings.rate_limit
        # Apart, so that who has sent many photos may still say of each what it is.
        self._of_pictures = RateLimit(max(1, settings.rate_limit))
        self._of_feedback = RateLimit(max(1, settings.rate_limit))

    def check_key(self, authorization: Authorization | None, *, json: bool) -> None:
        """Make sure that a request has the key, where there is one.

        Args:
            authorization: What it came with.
            json: Whether a program asks, and not a browser.

        Raises:
            Unauthorized: It has another, or none.
        """
        if self._key and not hmac.compare_digest(_given_key(authorization).encode(), self._key):
            raise Unauthorized(
                "This app wants a key: send it as 'Authorization: Bearer KEY', or type it as the "
                "password when your browser asks.",
                www_authenticate=WWWAuthenticate(
                    "bearer" if json else "basic", {"realm": "shopwindow"}
                ),
            )

    def check_rate(
        self, peer: str | None, header: Callable[[str], str | None], *, feedback: bool = False
    ) -> None:
        """Take one request from the credit of whoever asks, where there is a limit.

        Args:
            peer: The address of the socket.
            header: See `Clients.client_of`.
            feedback: Whether it is feedback, and no picture.

        Raises:
            TooManyRequests: The credit is used up.
        """
        if not self._per_minute:
            return
        client = self.clients.client_of(peer, header)
        limit = self._of_feedback if feedback else self._of_pictures
        wait_s = 0.0 if client is None else limit.take(client)
        if wait_s > 0:
            seconds = math.ceil(wait_s)
            raise TooManyRequests(
                f"At most {self._per_minute} requests a minute: "
                f"please try again in {seconds} second{'s' if seconds > 1 else ''}.",
                retry_after=seconds,
            )


def secure(app: Flask, settings: Settings, access: Access) -> None:
    """Add what the settings ask for: a proxy's scheme, a key, a rate limit; and all headers."""
    if settings.trusted_proxies:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=0, x_proto=settings.trusted_proxies, x_host=0
        )

    @app.before_request
    def let_in() -> None:
        # The server's loop asks the same in the same order: `Doorkeeper.refuse`.
        if request.endpoint not in _OPEN_ENDPOINTS:
            access.check_key(request.authorization, json=wants_json())
        # Nothing else makes the model run: the other pages cost next to nothing. A reviewer is
        # quicker than any limit, and attempts to log in have one of their own.
        costs = request.method == "POST" or "example" in request.args
        if costs and request.blueprint != "review":
            access.check_rate(
                request.remote_addr, request.headers.get, feedback="feedback" in request.path
            )

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers.update(SECURITY_HEADERS)
        if request.endpoint != "static":
            response.headers.setdefault("Cache-Control", "no-store")
        return response


def _given_key(given: Authorization | None) -> str:
    if given is None:
        return ""
    if given.type == "basic":
        # A browser asks its user for a name and a password, and then sends them by itself, for what
        # the script of the page fetches too. Any name will do.
        return given.password or ""
    return (given.token or "") if given.type == "bearer" else ""


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
