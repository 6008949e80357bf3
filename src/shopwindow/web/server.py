"""`shopwindow serve`: the app under waitress, in one process with one model and some threads."""

from __future__ import annotations

import errno
import logging
import signal
from types import FrameType
from typing import Any

import numpy as np
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import BaseWSGIServer, create_server
from waitress.utilities import RequestEntityTooLarge

from shopwindow.errors import UsageError
from shopwindow.inference.predictor import Predictor
from shopwindow.settings import Settings
from shopwindow.web.app import create_app
from shopwindow.web.wording import title_of

# An upload this many times over the limit is not even read to its end.
_DRAIN_FACTOR = 10
_SPARE_THREADS = 8


def serve(predictor: Predictor, settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C, then return.

    The port is taken first, so that a wrong one is reported at once, and the address is printed
    when the model has run once and the first request will be answered.

    Raises:
        UsageError: The host or port cannot be listened on.
    """
    sockets: dict[int, Any] = {}
    server = _listen(predictor, settings, sockets)
    for listener in sockets.values():
        if isinstance(listener, BaseWSGIServer):
            listener.channel_class = _Channel
    title = title_of(predictor.bundle.info)
    previous = signal.signal(signal.SIGTERM, _stop)
    try:
        _warm_up(predictor)
        print(f"{title}: open {_address(server, settings)} (Ctrl-C stops it)", flush=True)
        server.run()
    except KeyboardInterrupt:
        pass  # before the loop, which handles it itself
    finally:
        signal.signal(signal.SIGTERM, previous)
        _close(sockets)


def _warm_up(predictor: Predictor) -> None:
    rule = predictor.bundle.info.rule
    predictor.predict_images(np.zeros((1, rule.height_px, rule.width_px, 3), np.uint8), top=1)


def _listen(predictor: Predictor, settings: Settings, sockets: dict[int, Any]) -> Any:
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a waiting request is no news
    try:
        return create_server(
            create_app(predictor, settings),
            map=sockets,
            host=settings.host,
            port=settings.port,
            # One for each caller that may wait, and some that turn the next away and say that all
            # is well. A thread that waits costs some 50 kB.
            threads=settings.max_waiting + _SPARE_THREADS,
            # Goes on reading while a request is answered, and so notices that a client hung up.
            channel_request_lookahead=1,
            ident="shopwindow",
            # Waitress moves larger bodies to a file. What it takes in before the limit stops it
            # (one read from the socket too much) stays in memory: uploads never touch the disk.
            inbuf_overflow=settings.max_upload_bytes + 1_000_000,
            max_request_body_size=settings.max_upload_bytes + 1,
        )
    except OSError as error:
        _close(sockets)
        where = f"{settings.host}:{settings.port}"
        if error.errno == errno.EADDRINUSE:
            raise UsageError(
                f"{where} is in use by another program; stop that one or choose another port, "
                f"for example --port {settings.port + 1}"
            ) from None
        if error.errno == errno.EACCES:
            raise UsageError(
                f"{where} may not be listened on by this user; ports from 1024 may: --port 5000"
            ) from None
        raise UsageError(
            f"{where} cannot be listened on ({error.strerror}); --host takes an address of this "
            "machine, such as 127.0.0.1 or 0.0.0.0"
        ) from None
    except ValueError:
        raise UsageError(
            f"--host {settings.host} is no address of this machine; expected one such as "
            "127.0.0.1 or 0.0.0.0"
        ) from None


def _close(sockets: dict[int, Any]) -> None:
    for listener in sockets.values():
        if isinstance(listener, BaseWSGIServer):
            listener.task_dispatcher.shutdown()
    wasyncore.close_all(sockets)


def _address(server: Any, settings: Settings) -> str:
    listens = getattr(server, "effective_listen", None)
    port = listens[0][1] if listens else server.effective_port
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{port}"


def _stop(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt  # waitress finishes what it is answering and then returns


class _Sink:
    """A receive buffer that only counts."""

    def __init__(self) -> None:
        self.size_bytes = 0

    def append(self, data: bytes) -> None:
        self.size_bytes += len(data)

    def __len__(self) -> int:
        return self.size_bytes

    def close(self) -> None:
        pass


class _Parser(HTTPRequestParser):  # type: ignore[misc]
    """A request parser that lets the app itself refuse a body over the limit.

    Waitress answers such a request in its own words and closes the connection on the unread body,
    which a browser shows as "connection reset" and not as our sentence. Here the body is read to
    its end and thrown away; the app sees how long it was, and no body.
    """

    body_rcv: Any  # a receiver with a buffer, once a body is announced
    _draining = False

    def received(self, data: bytes) -> int:
        if not self._draining:
            consumed = int(super().received(data))
            if isinstance(self.error, RequestEntityTooLarge):
                self._drain()
            return consumed
        consumed = int(self.body_rcv.received(data))
        self.body_bytes_received += consumed
        if self.body_rcv.completed or self.body_rcv.error:
            self._leave_to_the_app()
        elif self.body_bytes_received > self._drainable_bytes:
            self._leave_to_the_app(close=True)
        return consumed

    def _drain(self) -> None:
        self.error = None
        self.body_rcv.getbuf().close()
        self.body_rcv.buf = _Sink()
        if self.expect_continue or self.content_length > self._drainable_bytes:
            # A client that waits to hear whether it may send, or an absurd length.
            self._leave_to_the_app(close=True)
        elif self.body_rcv.completed:
            self._leave_to_the_app()
        else:
            self._draining = True
            self.completed = False

    def _leave_to_the_app(self, *, close: bool = False) -> None:
        self.headers["CONTENT_LENGTH"] = str(max(self.content_length, self.body_bytes_received))
        self.body_rcv = None
        self.expect_continue = False
        self.completed = True
        if close:
            self.headers["CONNECTION"] = "close"

    @property
    def _drainable_bytes(self) -> int:
        return _DRAIN_FACTOR * int(self.adj.max_request_body_size)


class _Channel(HTTPChannel):  # type: ignore[misc]
    parser_class = _Parser
