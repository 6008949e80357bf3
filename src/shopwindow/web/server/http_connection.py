"""A connection: what is read from it, when it is cut off, and refusals that need no thread."""

from __future__ import annotations

import json
import logging
import string
import threading
import time
from http import HTTPStatus
from typing import Any, ClassVar

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.task import ErrorTask
from waitress.utilities import RequestEntityTooLarge

from shopwindow.web.problem import MEDIA_TYPE, Problem
from shopwindow.web.security import SECURITY_HEADERS
from shopwindow.web.server.overload import ErrorResponse, OverloadGuard
from shopwindow.web.server.upload_budget import UploadBudget

_log = logging.getLogger(__name__)

# An upload this many times over the limit is not read to its end.
_DRAIN_FACTOR = 10

_SENTENCES = {
    400: "This is not a valid HTTP request.",
    413: "This request is too large. Please send a smaller picture.",
    431: "The headers of this request are too long.",
    501: "This server does not support this transfer encoding. Send the body as it is, or in "
    "chunks.",
}


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
    """A request parser that leaves it to the app to refuse a body over the limit.

    Waitress answers such a request in its own words and closes the connection on the unread body;
    a browser then shows "connection reset" instead of our sentence. Here the body is read to its
    end and thrown away; the app sees its length, and no body.
    """

    body_rcv: Any  # a receiver with a buffer, once a body is announced
    _draining = False

    @property
    def held_bytes(self) -> int:
        """How much of the body is in memory."""
        held = self.body_rcv is not None and not self._draining
        return int(self.body_bytes_received) if held else 0

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
            # A client that asks before it sends, or an absurd length.
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


class _ErrorTask(ErrorTask):  # type: ignore[misc]
    """Answers a request that never reaches the app, in the app's own form."""

    def execute(self) -> None:
        response = self.request.error
        if not isinstance(response, ErrorResponse):
            response = _invalid_request(int(response.code))
            self.set_close_on_finish()  # nobody knows where the next request begins
        self.status = f"{response.status} {HTTPStatus(response.status).phrase}"
        self.response_headers += response.headers
        self.content_length = len(response.body)
        self.write(response.body)


def _invalid_request(status: int) -> ErrorResponse:
    """Return the response to something that is not a request."""
    sentence = _SENTENCES.get(status, "Something broke on our side. It has been logged.")
    problem = Problem(status, HTTPStatus(status).phrase, sentence)
    headers = [("Content-Type", MEDIA_TYPE), *SECURITY_HEADERS.items()]
    return ErrorResponse(status, headers, json.dumps(problem.as_json()).encode())


# RFC 9110, 5.6.2: what a method may begin with.
_METHOD_STARTS = frozenset(b"!#$%&'*+-.^_`|~" + string.ascii_letters.encode() + b"0123456789")
_HTTP_2 = b"PRI * HTTP/2.0"


def foreign_protocol(beginning: bytes) -> str | None:
    """Return the protocol of a connection if it is not HTTP/1, or None.

    Args:
        beginning: The first bytes of a request, 14 or more if there are as many.
    """
    beginning = beginning.lstrip(b"\r\n")
    if beginning.startswith((b"\x16\x03", b"\x80")):
        return "TLS (an https address)"
    if beginning.startswith(_HTTP_2):
        return "HTTP/2"
    if beginning and beginning[0] not in _METHOD_STARTS:
        return "something other than HTTP"
    return None


class Dispatcher:
    """Hands requests to waitress's threads, except those that are refused at once.

    Args:
        threads: Waitress's own dispatcher.
    """

    def __init__(self, threads: Any) -> None:
        self.threads = threads
        self._loop = threading.current_thread()  # where requests are read

    def add_task(self, connection: HttpConnection) -> None:
        """See `waitress.task.ThreadedTaskDispatcher`."""
        if threading.current_thread() is not self._loop or not connection.refuse_if_full():
            self.threads.add_task(connection)

    def shutdown(self, *, timeout: float) -> None:
        """See `waitress.task.ThreadedTaskDispatcher`."""
        self.threads.shutdown(timeout=timeout)


class HttpConnection(HTTPChannel):  # type: ignore[misc]
    """A connection that is cut off where a request does not arrive within `receive_s`.

    Waitress closes connections on which nothing happens, but a byte a second keeps one open. While
    all connections together hold more than the upload budget, large bodies wait for their turn.
    """

    parser_class = _Parser
    error_task_class = _ErrorTask
    receive_s = 120.0
    overload_guard: OverloadGuard
    upload_budget: UploadBudget
    logged_protocols: ClassVar[set[str]] = set()
    requests: list[Any]  # waitress's own: received, and not answered yet
    _arriving_since: float | None = None
    _refused = False

    def received(self, data: bytes) -> bool:
        """Parse what has come, unless it can never become a request.

        Waitress waits for the end of the headers, and a client that speaks TLS for an answer.
        """
        begun = b"" if self.request is None else bytes(self.request.header_plus[:16])
        if self.request is None or not self.request.headers_finished:
            found = None if self.requests else foreign_protocol(begun + data[:16])
            if found is not None:
                self._close_on(found)
                return False
        return bool(super().received(data))

    def _close_on(self, protocol: str) -> None:
        self.request = None
        self.will_close = True
        if protocol not in self.logged_protocols:
            self.logged_protocols.add(protocol)
            _log.warning(
                "A connection was closed: expected HTTP/1.1, found %s. Only a proxy in front can "
                "speak that; use an http:// address here. Further ones are not logged.",
                protocol,
            )

    def refuse_if_full(self) -> bool:
        """Refuse the request that has just been read if there is no room for it.

        `handle_read` answers it, after parsing the rest of what was read with it.
        """
        request = self.requests[0]
        if not request.error:
            request.error = self.overload_guard.refuse(request, self.addr[0])
            self._refused = request.error is not None
        return self._refused

    def handle_read(self) -> None:
        """Read what has come, and answer what is refused."""
        super().handle_read()
        if self._refused:
            self._answer_the_refused()
        self._count()

    def _answer_the_refused(self) -> None:
        self._refused = False
        if self.request is not None or len(self.requests) > 1 or not self.connected:
            self.server.task_dispatcher.threads.add_task(self)  # so that answers keep their order
            return
        # As `HTTPChannel.service` does, which would wake the very loop that runs this.
        (request,) = self.requests
        task = self.error_task_class(self, request)
        task.service()
        request.close()
        with self.requests_lock:
            self.close_when_flushed = task.close_on_finish
            self.requests = []

    @property
    def busy(self) -> bool:
        """Whether a request is arriving, being answered, or its answer is being sent."""
        return bool(self.request or self.requests or self.total_outbufs_len)

    def readable(self) -> bool:
        """Say whether to read on.

        All connections are asked in every turn of the server's loop, so this does very little.
        """
        if self.request is None:
            self._arriving_since = None
            return bool(super().readable())
        if self._arriving_since is None:
            self._arriving_since = time.monotonic()
        elif time.monotonic() - self._arriving_since > self.receive_s and not self.requests:
            self.will_close = True
        return bool(super().readable()) and self.upload_budget.may_grow(self)

    def del_channel(self, map: Any = None) -> None:  # noqa: A002 (waitress's name)
        """See `waitress.wasyncore.dispatcher`."""
        super().del_channel(map)
        self._count()

    def service(self) -> None:
        """Answer a request; see `HTTPChannel.service`."""
        super().service()
        if not self.connected:
            with self.requests_lock:
                self.requests = []  # nobody waits for these answers any more
        if self._count():
            self.server.pull_trigger()  # others may read on, and the loop sleeps

    def _count(self) -> bool:
        """Update the upload budget; return whether others waited for room."""
        # The loop and the thread that answers both count after what they change, so that whichever
        # is last has seen everything.
        with self.upload_budget.lock:
            arriving = self.request if self.connected else None
            # A client that hangs up leaves its body with the thread that is answering.
            return self.upload_budget.count(
                self,
                arriving_bytes=0 if arriving is None else arriving.held_bytes,
                complete_bytes=sum(request.held_bytes for request in list(self.requests)),
            )
