"""The files of a request. Uploads stay in memory."""

from __future__ import annotations

import time
from collections.abc import Sized
from io import BytesIO
from typing import IO

from flask import Request, request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from shopwindow.inference.batching import Deadline
from shopwindow.web.state import app_state

_HOW = "Send the image in the multipart field 'image', or as the body with an image/* type."


class UploadRequest(Request):
    """A request that never writes an upload to disk.

    Werkzeug spools files over 500 kB to a temporary file. The whole body is limited by
    `MAX_CONTENT_LENGTH` already, so memory is bounded without that, and nothing is left behind.
    """

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        return BytesIO()


def deadline() -> Deadline:
    """Return the time until which the current request is worth answering."""
    # Waitress's own addition to WSGI; under other servers, nobody notices that a client has gone.
    is_gone = request.environ.get("waitress.client_disconnected", lambda: False)
    return Deadline(time.monotonic() + app_state().settings.deadline_s, is_gone)


def read_files(field: str) -> list[tuple[str, bytes]]:
    """Return name and content of every file in a field of the form, in the order sent.

    The empty part that a browser sends when no file was chosen does not count as a file.

    Raises:
        BadRequest: The form cannot be parsed.
        RequestEntityTooLarge: The body or its parts exceed the limits of the app.
    """
    if request.mimetype == "multipart/form-data" and not request.mimetype_params.get("boundary"):
        raise BadRequest(
            "This multipart form has no boundary: send 'Content-Type: multipart/form-data; "
            "boundary=...'. Clients add it if you do not set the content type."
        )
    files = []
    for part in request.files.getlist(field):
        blob = part.read()
        if blob or part.filename:
            files.append((part.filename or "", blob))
    return files


def read_images() -> list[bytes]:
    """Return the images of an API request: 1 to `max_files` blobs, not yet decoded.

    Raises:
        BadRequest: There is no image in the request, or the form cannot be parsed.
        RequestEntityTooLarge: More bytes or more files than the limits.
        UnsupportedMediaType: Neither multipart nor an image type.
    """
    if request.mimetype == "multipart/form-data":
        blobs = [blob for _, blob in read_files("image")]
        if not blobs:
            raise BadRequest(_why_no_file())
        check_count(blobs)
        return blobs
    if request.mimetype.startswith("image/") or request.mimetype == "application/octet-stream":
        return [request.get_data(cache=False)]  # an empty one is an empty file
    found = request.mimetype or "none"
    raise UnsupportedMediaType(f"The content type is {found}. {_HOW}")


def _why_no_file() -> str:
    """Say what a form has instead of a file in the field `image`."""
    if not request.files and not request.form:
        return (
            "This multipart form has no parts: its body should begin with the boundary of its "
            f"content type. {_HOW}"
        )
    if "image" in request.form:
        return f"The field 'image' is text, not a file: give that part a file name. {_HOW}"
    return f"There is no file in the field 'image'. {_HOW}"


def refuse_compressed() -> None:
    """Refuse a compressed body: images are compressed already.

    What a few compressed bytes may grow to would need a limit of its own.

    Raises:
        UnsupportedMediaType: The current request has a content encoding.
    """
    coding = request.headers.get("Content-Encoding", "").strip()
    if coding.lower() not in {"", "identity"}:
        raise UnsupportedMediaType(
            f"This body is compressed (Content-Encoding: {coding[:40]}). Send it as it is: "
            "images are compressed already."
        )


def check_count(files: Sized) -> None:
    """Make sure that a request has no more images than the setting allows.

    Raises:
        RequestEntityTooLarge: It has more.
    """
    max_files = app_state().settings.max_files
    if len(files) > max_files:
        raise RequestEntityTooLarge(
            f"This request has {len(files)} images, and at most {max_files} are allowed."
        )
