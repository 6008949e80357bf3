"""Refuses predictions that there is no room for, before a thread takes them up.

When three times as much is asked as can be answered, two of three requests are refused. Through
Flask, each refusal costs a change of threads, the handling of a request and one more turn of the
server's loop, all at the expense of the answers. So they are refused where they are read, in the
app's own words, and counted and logged like everything else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import Any

from werkzeug.datastructures import Authorization
from werkzeug.exceptions import HTTPException

from shopwindow.inference.batching import Batcher
from shopwindow.settings import Settings
from shopwindow.web.cors import cors_headers
from shopwindow.web.logs import ID_HEADER, log_answer, request_id_of
from shopwindow.web.path_prefix import without_prefix
from shopwindow.web.problem import MEDIA_TYPE, Problem, as_http_error, kind_of_status
from shopwindow.web.prometheus import Metrics
from shopwindow.web.security import SECURITY_HEADERS, Access

_METHOD, _PATH = "POST", "/api/v1/predict"  # what programs ask for; people get a page


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """A response that is ready to be written.

    Attributes:
        status: HTTP status.
        headers: All but those that the server adds itself.
        body: Its content.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class OverloadGuard:
    """Decides whether there is room for a request.

    Args:
        batcher: Whose queue may be full.
        metrics: Where a refusal is counted.
        access: Who is let in at all.
        settings: For `path_prefix` and `cors_origins`.
    """

    def __init__(
        self, batcher: Batcher, metrics: Metrics, access: Access, settings: Settings
    ) -> None:
        self._settings = settings
        self._batcher = batcher
        self._metrics = metrics
        self._access = access

    def refuse(self, request: Any, peer: str | None) -> ErrorResponse | None:
        """Return the refusal of a request, or None to let it in.

        Never more is refused than the app would refuse; what is let in may still find the queue
        full.

        Args:
            request: Waitress's `HTTPRequestParser`, complete.
            peer: The address that it came from.
        """
        if not self._batcher.full or request.command != _METHOD:
            return None
        if without_prefix(request.path, self._settings.path_prefix) != _PATH:
            return None
        error = self._error(request, peer)
        problem = Problem.from_http_error(error)
        request_id = request_id_of(_header(request, ID_HEADER) or "")
        kinds = [kind_of_status(problem.status)]
        self._metrics.count_answer(_PATH, _METHOD, problem.status, None, kinds)
        log_answer(_METHOD, _PATH, problem.status, 0.0, kinds, request_id=request_id)
        headers = [
            ("Content-Type", MEDIA_TYPE),
            *((name, value) for name, value in error.get_headers() if name != "Content-Type"),
            (ID_HEADER, request_id),
            ("Cache-Control", "no-store"),
            *(SECURITY_HEADERS | cors_headers(_header(request, "Origin"), self._settings)).items(),
        ]
        body = json.dumps(problem.as_json(), ensure_ascii=False).encode()
        return ErrorResponse(problem.status, headers, body)

    def _error(self, request: Any, peer: str | None) -> HTTPException:
        """Return what the app would raise, in the order of `security.check_access`."""
        header = partial(_header, request)
        try:
            self._access.check_key(
                Authorization.from_header(header("Authorization")), from_program=True
            )
            self._access.check_rate(peer, header)
        except HTTPException as error:
            return error
        return as_http_error(self._batcher.turn_away())


def _header(request: Any, name: str) -> str | None:
    """Return a header from the names that waitress gives them."""
    value: str | None = request.headers.get(name.upper().replace("-", "_"))
    return value
