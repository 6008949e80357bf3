"""The log: one line per event, as text or as JSON, with the id of its request.

Nothing that people send is logged: no picture, no file name, no query, no address. A proxy in front
knows the address, and can set the id.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
from datetime import UTC, datetime
from typing import Any

from flask import Response, g, has_request_context, request

from shopwindow.settings import Settings
from shopwindow.web.problem import error_kinds

ID_HEADER = "X-Request-ID"
_WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MAX_PATH_CHARS = 100

_access = logging.getLogger("shopwindow.access")
_FIELDS = ("method", "path", "status", "seconds", "errors")


def configure_logging(settings: Settings) -> None:
    """Send the log of this process to stderr, as the settings say."""
    handler = logging.StreamHandler()
    handler.addFilter(_add_request_id)
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else TextFormatter())
    logging.basicConfig(handlers=[handler], level=settings.log_level.upper(), force=True)
    # What Pillow finds wrong with an image is its sender's fault, and in the answer.
    logging.getLogger("PIL").setLevel(logging.CRITICAL)


def begin_request() -> None:
    """Give the current request an id, and note when it began."""
    g.request_id = request_id_of(request.headers.get(ID_HEADER, ""))
    g.began_s = time.perf_counter()


def log_request(response: Response) -> Response:
    """Log the current request, and return its id to the client."""
    response.headers[ID_HEADER] = g.request_id
    seconds, status = time.perf_counter() - g.began_s, response.status_code
    kinds = error_kinds(status)
    log_answer(request.method, request.path, status, seconds, kinds, request_id=g.request_id)
    return response


def request_id_of(given: str) -> str:
    """Return the `X-Request-ID` that a proxy gave a request if it is well-formed, else a new one.

    With the same id, the logs of both can be read together.
    """
    return given if _WELL_FORMED.fullmatch(given) else secrets.token_hex(8)


def log_answer(
    method: str, path: str, status: int, seconds: float, kinds: list[str], *, request_id: str
) -> None:
    """Log one line for a request, with the kinds of errors in its response."""
    fields = {
        "method": method,
        "path": path[:_MAX_PATH_CHARS],
        "status": status,
        "seconds": round(seconds, 6),
        "errors": kinds,
    }
    extra = {**fields, "request_id": request_id}
    _access.info("%(method)s %(path)s %(status)s %(seconds)ss", fields, extra=extra)


def _add_request_id(record: logging.LogRecord) -> bool:
    if has_request_context() and "request_id" in g:
        record.request_id = g.request_id
    return True


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time (UTC), level, logger, message, and what belongs to it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; JSON escapes all but plain characters."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in ("request_id", *_FIELDS):
            if hasattr(record, name):
                line[name] = getattr(record, name)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class TextFormatter(logging.Formatter):
    """For people: time, level, message and request; below it the trace, if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without the control characters that a client may have put in it."""
        when = datetime.fromtimestamp(record.created).astimezone().isoformat(" ", "seconds")
        text = "".join(c if c.isprintable() else "�" for c in record.getMessage())
        request_id = getattr(record, "request_id", "")
        line = f"{when} {record.levelname} {text}" + (f" [{request_id}]" if request_id else "")
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line
