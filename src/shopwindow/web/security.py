"""Who is let in, how often, and what a browser may do with the response."""

from __future__ import annotations

import hmac
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from flask import Response, request
from werkzeug.datastructures import Authorization, WWWAuthenticate
from werkzeug.exceptions import TooManyRequests, Unauthorized

from shopwindow.settings import Settings
from shopwindow.web.clients import Clients
from shopwindow.web.problem import wants_json
from shopwindow.web.state import app_state

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
# The studio takes photos with the camera.
_WITH_CAMERA = SECURITY_HEADERS["Permissions-Policy"].replace("camera=()", "camera=(self)")
# Health checks and style sheets give nothing away, and are asked for without a key.
_OPEN_ENDPOINTS = frozenset({"api.live", "api.ready", "static"})

_MINUTE_S = 60.0
_LOGINS_PER_MINUTE = 10
MAX_CLIENTS = 100_000  # some 15 MB; whoever was silent longest is forgotten first


class Access:
    """Decides who is let in, for the app and for the server's loop alike. Thread-safe.

    Args:
        settings: The key, the rate limit and how many proxies are trusted.
    """

    def __init__(self, settings: Settings) -> None:
        self._clients = Clients(settings.trusted_proxies)
        self._key = settings.api_key.encode()
        self._per_minute = settings.rate_limit
        # Two, so that a visitor who has sent many photos can still give feedback on each.
        self._pictures = RateLimit(max(1, settings.rate_limit))
        self._feedback = RateLimit(max(1, settings.rate_limit))
        self._logins = RateLimit(_LOGINS_PER_MINUTE)

    def check_key(self, authorization: Authorization | None, *, from_program: bool) -> None:
        """Make sure that a request has the key, where there is one.

        Args:
            authorization: What it came with.
            from_program: Whether a program asks rather than a browser.

        Raises:
            Unauthorized: The key is missing or wrong.
        """
        if self._key and not hmac.compare_digest(_given_key(authorization).encode(), self._key):
            raise Unauthorized(
                "This app needs a key: send it as 'Authorization: Bearer KEY', or type it as the "
                "password when your browser asks.",
                www_authenticate=WWWAuthenticate(
                    "bearer" if from_program else "basic", {"realm": "shopwindow"}
                ),
            )

    def check_rate(
        self, peer: str | None, header: Callable[[str], str | None], *, feedback: bool = False
    ) -> None:
        """Count a request towards the rate limit of its client, where there is a limit.

        Args:
            peer: The address of the socket.
            header: See `Clients.client_of`.
            feedback: Whether it is feedback rather than a picture.

        Raises:
            TooManyRequests: The limit is reached.
        """
        if not self._per_minute:
            return
        client = self._clients.client_of(peer, header)
        limit = self._feedback if feedback else self._pictures
        wait_s = 0.0 if client is None else limit.take(client)
        if wait_s > 0:
            seconds = math.ceil(wait_s)
            raise TooManyRequests(
                f"At most {self._per_minute} requests a minute: "
                f"please try again in {seconds} second{'s' if seconds > 1 else ''}.",
                retry_after=seconds,
            )

    def check_login(self, peer: str | None, header: Callable[[str], str | None]) -> None:
        """Count an attempt to log in to /review or /studio.

        Clients that cannot be told apart are not limited: the password is too long to be guessed,
        and a stranger would lock out its owner.

        Raises:
            TooManyRequests: The client has tried too often.
        """
        client = self._clients.client_of(peer, header)
        if client is not None and self._logins.take(client) > 0:
            raise TooManyRequests(
                "Too many attempts. Please try again in a minute.", retry_after=60
            )


def check_access() -> None:
    """Make sure that the current request has the key and is within the rate limit.

    `OverloadGuard.refuse` does the same, in the same order.

    Raises:
        Unauthorized: The key is missing or wrong.
        TooManyRequests: The limit is reached.
    """
    access = app_state().access
    if request.endpoint not in _OPEN_ENDPOINTS:
        access.check_key(request.authorization, from_program=wants_json())
    # Nothing else runs the model, and the other pages cost next to nothing. A reviewer is quicker
    # than any limit, and attempts to log in have a limit of their own.
    costs = request.method == "POST" or "example" in request.args
    if costs and request.blueprint not in ("review", "studio", "studio_api"):
        access.check_rate(
            request.remote_addr, request.headers.get, feedback="feedback" in request.path
        )


def add_security_headers(response: Response) -> Response:
    """Add the headers that every response has."""
    response.headers.update(SECURITY_HEADERS)
    if request.endpoint == "studio.show" and response.status_code == 200:
        response.headers["Permissions-Policy"] = _WITH_CAMERA
    if request.endpoint != "static":
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def _given_key(given: Authorization | None) -> str:
    if given is None:
        return ""
    if given.type == "basic":
        # A browser asks for a name and a password, and then sends both with each request, also with
        # those of the page's script. Any name will do.
        return given.password or ""
    return (given.token or "") if given.type == "bearer" else ""


class RateLimit:
    """Limits the requests of each client per minute; they may come all at once. Thread-safe.

    The "generic cell rate algorithm" (ITU-T I.371): one time per client says when its credit will
    be whole again, which costs the same however many requests there were. docs/decisions/server.md
    says why this is not a library.

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
        """Take one request from a client's credit; return the seconds to wait if there is none.

        A request that has to wait takes no credit.
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
