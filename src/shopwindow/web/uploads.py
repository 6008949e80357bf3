"""Requests whose uploads stay in memory, and the pictures that they carry."""

from __future__ import annotations

import time
from io import BytesIO
from typing import IO

from flask import Request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from shopwindow.inference.batching import Deadline
from shopwindow.settings import Settings

_HOW = "Send the picture in the multipart field 'image', or as the body with an image/* type."


class UploadRequest(Request):
    """A request that never writes an upload to disk.

    Werkzeug spools files over 500 kB to a temporary file. The whole body is limited by
    `MAX_CONTENT_LENGTH` already, so memory is bounded without it, and nothing is left behind.
    """

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        return BytesIO()


def caller_of(request: Request, settings: Settings) -> Deadline:
    """Return who sent a request, and until when the answer is worth something."""
    # Waitress's own addition to WSGI; with other servers a client that has gone goes unnoticed.
    is_gone = request.environ.get("waitress.client_disconnected", lambda: False)
    return Deadline(time.monotonic() + settings.deadline_s, is_gone)


def read_files(request: Request, field: str) -> list[tuple[str, bytes]]:
    """Return name and content of every file sent under a field name, in the order sent.

    The empty part that a browser sends when no file was chosen does not count as a file.

    Raises:
        BadRequest: It is a form that cannot be taken apart.
        RequestEntityTooLarge: The body or its parts exceed the limits of the app.
    """
    if request.mimetype == "multipart/form-data" and not request.mimetype_params.get("boundary"):
        raise BadRequest(
            "This multipart form has no boundary: send 'Content-Type: multipart/form-data; "
            "boundary=...', as clients do by themselves when they are given the form and no type."
        )
    files = []
    for part in request.files.getlist(field):
        blob = part.read()
        if blob or part.filename:
            files.append((part.filename or "", blob))
    return files


def read_images(request: Request, *, max_files: int) -> list[bytes]:
    """Return the pictures of an API request: 1 to `max_files` blobs, not yet decoded.

    Raises:
        BadRequest: There is no picture in the request, or a form cannot be taken apart.
        RequestEntityTooLarge: More bytes or more files than the limits.
        UnsupportedMediaType: Neither multipart nor an image type.
    """
    if request.mimetype == "multipart/form-data":
        blobs = [blob for _, blob in read_files(request, "image")]
        if not blobs:
            raise BadRequest(_why_no_file(request))
        if len(blobs) > max_files:
            raise too_many_files(len(blobs), max_files)
        return blobs
    if request.mimetype.startswith("image/") or request.mimetype == "application/octet-stream":
        return [request.get_data(cache=False)]  # an empty one is an empty file
    found = request.mimetype or "none"
    raise UnsupportedMediaType(f"The content type is {found}. {_HOW}")


def _why_no_file(request: Request) -> str:
    """Say what a form has instead of a file in the field that was expected."""
    if not request.files and not request.form:
        return (
            "There is no part in this multipart form: expected its body to begin with the boundary "
            f"of its content type. {_HOW}"
        )
    if "image" in request.form:
        return f"The field 'image' is a text and no file: give that part a file name. {_HOW}"
    return f"There is no file in the field 'image'. {_HOW}"


def refuse_compressed(request: Request) -> None:
    """Make sure that a body is what it is, and not compressed on the way.

    A picture is compressed already, and what a few bytes may become would need a limit of its own.

    Raises:
        UnsupportedMediaType: It has a content encoding.
    """
    coding = request.headers.get("Content-Encoding", "").strip()
    if coding.lower() not in {"", "identity"}:
        raise UnsupportedMediaType(
            f"This body is compressed (Content-Encoding: {coding[:40]}). Send it as it is: "
            "pictures are compressed already."
        )


def too_many_files(found: int, max_files: int) -> RequestEntityTooLarge:
    """Return the error of a request with more pictures than the setting allows."""
    return RequestEntityTooLarge(f"At most {max_files} pictures per request, and this has {found}.")
