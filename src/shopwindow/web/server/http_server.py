"""Waitress's server, set up for uploads and overload: the port, the loop, the end."""

from __future__ import annotations

import errno
import logging
import sys
import time
from typing import Any

from flask import Flask
from waitress import wasyncore
from waitress.server import BaseWSGIServer, create_server

from shopwindow.errors import UsageError
from shopwindow.settings import Settings
from shopwindow.web.server.http_connection import Dispatcher, HttpConnection
from shopwindow.web.server.overload import OverloadGuard
from shopwindow.web.server.upload_budget import MAX_BYTES, UploadBudget
from shopwindow.web.state import app_state

_SPARE_THREADS = 8
_OTHER_FILES = 100  # open beside connections: libraries, the model, the log
_MAX_HEADER_BYTES = 65_536

_log = logging.getLogger(__name__)


class HttpServer:
    """An app on its port. Everything but `wake` belongs to the thread that makes it.

    Args:
        app: What answers.
        settings: Where to listen, and the limits.

    Raises:
        UsageError: The host or port cannot be listened on.
    """

    def __init__(self, app: Flask, settings: Settings) -> None:
        self._settings = settings
        self._sockets: dict[int, Any] = {}
        _allow_open_files(settings.max_connections + _OTHER_FILES)
        self._server = self._listen(app)
        self._listeners = self._find_listeners()
        state = app_state(app)
        attributes = {
            "receive_s": settings.receive_s,
            "overload_guard": OverloadGuard(state.batcher, state.metrics, state.access, settings),
            # Where larger pictures are allowed, two of them have to fit.
            "upload_budget": UploadBudget(max(MAX_BYTES, 2 * settings.max_upload_bytes)),
            "logged_protocols": set(),
        }
        for listener in self._listeners:
            listener.channel_class = type("Connection", (HttpConnection,), attributes)
            listener.task_dispatcher = Dispatcher(listener.task_dispatcher)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        listens = getattr(self._server, "effective_listen", None)
        return int(listens[0][1] if listens else self._server.effective_port)

    @property
    def url(self) -> str:
        """The address for a browser on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(  # noqa: S104
            self._settings.host, self._settings.host
        )
        if ":" in host and not host.startswith("["):
            host = f"[{host}]"
        return f"http://{host}:{self.port}{self._settings.path_prefix}"

    def turn(self, *, timeout_s: float) -> None:
        """Do what can be done now; wait at most so long if there is nothing."""
        wasyncore.loop(timeout=timeout_s, use_poll=True, map=self._sockets, count=1)

    def wake(self) -> None:
        """End the wait of `turn`, from any thread or signal handler."""
        self._listeners[0].pull_trigger()

    def drain(self, max_s: float) -> None:
        """Take no new connections, and finish the requests that have begun, for at most `max_s`."""
        for listener in self._listeners:
            wasyncore.dispatcher.close(listener)  # its own `close` would take the trigger away too
        self.turn(timeout_s=0)  # reads what has arrived already
        until_s = time.monotonic() + max_s
        while time.monotonic() < until_s:
            sockets = self._sockets.values()
            connections = [s for s in sockets if isinstance(s, HttpConnection)]
            for connection in connections:
                if not connection.busy:
                    connection.handle_close()
            if not any(connection.busy for connection in connections):
                return
            self.turn(timeout_s=0.05)
        _log.warning("Some requests were not finished within %s seconds and were cut off", max_s)

    def close(self) -> None:
        """Stop the threads and close every connection."""
        for listener in self._listeners:
            listener.task_dispatcher.shutdown(timeout=1)
        wasyncore.close_all(self._sockets)

    def _find_listeners(self) -> list[Any]:
        """Return one listener for each address; closing one takes it out of `_sockets`."""
        return [s for s in self._sockets.values() if isinstance(s, BaseWSGIServer)]

    def _listen(self, app: Flask) -> Any:
        settings = self._settings
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a waiting request is no news
        try:
            return create_server(
                app,
                map=self._sockets,
                host=settings.host,
                port=settings.port,
                # One for each request that may wait, and some for refusals and health checks. A
                # thread that waits costs some 50 kB.
                threads=settings.max_waiting + _SPARE_THREADS,
                # Goes on reading while a request is answered, and so notices a client that hung up.
                channel_request_lookahead=1,
                # A phone's photo arrives in some 50 reads rather than 500; pipes hold no more.
                recv_bytes=65_536,
                ident="shopwindow",
                connection_limit=settings.max_connections,
                max_request_header_size=_MAX_HEADER_BYTES,
                # The app reads these headers itself, as far as `trusted_proxies` says.
                clear_untrusted_proxy_headers=False,
                # Waitress moves larger bodies to a file. What it takes in before the limit stops it
                # (one read from the socket too much) stays in memory: uploads never touch the disk.
                inbuf_overflow=settings.max_upload_bytes + 1_000_000,
                max_request_body_size=settings.max_upload_bytes + 1,
            )
        except (OSError, ValueError) as error:
            self._listeners = self._find_listeners()
            self.close()
            raise UsageError(_why_not(error, settings)) from None


def _why_not(error: OSError | ValueError, settings: Settings) -> str:
    """Say why an address cannot be listened on, and what to do."""
    where = f"{settings.host}:{settings.port}"
    if isinstance(error, ValueError):
        return (
            f"--host {settings.host} is not an address of this machine; expected one such as "
            "127.0.0.1 or 0.0.0.0"
        )
    if error.errno == errno.EADDRINUSE:
        return (
            f"{where} is in use by another program; stop that one or choose another port, "
            f"for example --port {settings.port + 1}"
        )
    if error.errno == errno.EACCES:
        return f"This user may not listen on {where}; ports from 1024 are allowed: --port 5000"
    return (
        f"Cannot listen on {where} ({error.strerror}); --host takes an address of this "
        "machine, such as 127.0.0.1 or 0.0.0.0"
    )


def _allow_open_files(count: int) -> None:
    """Raise the limit of open files to what so many connections need, as far as this is allowed."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
