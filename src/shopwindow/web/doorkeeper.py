"""Requests for an answer that there is no room for, refused before a thread takes them up.

When three times as much is asked as can be answered, two of three requests are refused, and what
that costs is taken from the answers: a change of threads, Flask's way of handling a request, one
more turn of the server's loop. So this is done where the request was read, in the app's own words,
and it is counted and logged as everything else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from shopwindow.inference.batching import Batcher
from shopwindow.web.logs import ID_HEADER, log_answer, request_id_of
from shopwindow.web.metrics import Metrics
from shopwindow.web.problem import MEDIA_TYPE, Problem, as_http_error, kind_of_status
from shopwindow.web.security import SECURITY_HEADERS

_METHOD, _PATH = "POST", "/api/v1/predict"  # what programs ask for; people get a page


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is ready to be written.

    Attributes:
        code: HTTP status.
        headers: All but those that the server adds itself.
        body: Its content.
    """

    code: int
    headers: list[tuple[str, str]]
    body: bytes


class Doorkeeper:
    """Looks whether there is room for a request.

    Args:
        batcher: Whose line may be full.
        metrics: Where a refusal is counted.
    """

    def __init__(self, batcher: Batcher, metrics: Metrics) -> None:
        self._batcher = batcher
        self._metrics = metrics

    def refuse(self, request: Any) -> Refusal | None:
        """Return what to answer to waitress's `HTTPRequestParser` at once; None for those let in.

        Never more is refused than the app would: what is let in may still find the line full.
        """
        if not self._batcher.full or request.command != _METHOD or request.path != _PATH:
            return None
        error = self._batcher.turn_away()
        busy = as_http_error(error)
        problem = Problem.from_http_error(busy)
        request_id = request_id_of(request.headers.get(ID_HEADER.upper().replace("-", "_"), ""))
        kinds = [kind_of_status(problem.status)]
        self._metrics.count_answer(_PATH, _METHOD, problem.status, 0.0, kinds)
        log_answer(_METHOD, _PATH, problem.status, 0.0, kinds, request_id=request_id)
        headers = {
            "Content-Type": MEDIA_TYPE,
            "Retry-After": str(error.retry_after_s),
            ID_HEADER: request_id,
            "Cache-Control": "no-store",
            **SECURITY_HEADERS,
        }
        body = json.dumps(problem.as_json(), ensure_ascii=False).encode()
        return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, list(headers.items()), body)
