"""Every failure that shopwindow reports, as one tree.

::

    ShopwindowError                 one sentence: what was expected, what was found, what to do
    ├── UsageError                  a wrong argument, column name or path            CLI exit code 2
    │   └── MissingExtraError       an optional dependency is not installed          CLI exit code 2
    ├── DataError                   a data set that cannot be used as it is
    ├── ImageError                  an image that is not accepted                    HTTP 4xx
    │   ├── UnsupportedImageError   not one of the accepted formats                  HTTP 415
    │   ├── OversizedImageError     more bytes or pixels than the limit              HTTP 413
    │   └── UnreadableImageError    an accepted format, but damaged or truncated     HTTP 422
    ├── ApiError                    a server that refuses a request of the client
    ├── BusyError                   more requests than can be answered in time       HTTP 503
    ├── BundleError                 a model file that is not a readable bundle      CLI exit code 2
    ├── GalleryError             a gallery of similar items that cannot be used      CLI exit code 2
    ├── BulkError                   a bulk run that had to stop, and can resume     CLI exit code 75
    ├── TrainingError               a run that cannot start, resume or be exported
    │   └── WeightsError            pretrained weights that are unavailable or do not fit
    ├── PromotionError              a model that is not promoted, or none to roll back to
    ├── DownloadError               a data set that could not be downloaded
    ├── StudioError                 what cannot be done with a project               HTTP 422
    │   └── StudioConflictError     somebody else has changed the same photos        HTTP 409
    └── FeedbackError               the feedback store cannot be used               CLI exit code 2
        └── RefusedFeedbackError    feedback that is not accepted                    HTTP 4xx, 503
            ├── ReceiptError        a receipt that is foreign, changed or too old    HTTP 422
            └── ReviewedError       feedback that was reviewed, and stays as it is   HTTP 409

Messages are written for the person who caused them. They never contain a stack trace, and those of
`ImageError` never contain a path, since clients of the web app see them.
"""

from __future__ import annotations

import sys
from pathlib import Path


class ShopwindowError(Exception):
    """The base of all errors that shopwindow raises on purpose."""

    exit_code = 1


class UsageError(ShopwindowError):
    """A wrong argument, column name or path."""

    exit_code = 2


def how_to_install(extra: str) -> str:
    """Return the command that installs an extra here.

    In a clone, pip would look for shopwindow where it is not: it is told the folder.
    """
    clone = Path(__file__).parents[2]
    if not (clone / "pyproject.toml").is_file():
        return f"pip install 'shopwindow[{extra}]'"
    # A clone has an environment for training beside the one that serves.
    if extra == "train":
        return "make dev-environment in a clone, else pip install 'shopwindow[train]'"
    return f"{Path(sys.prefix, 'bin', 'pip')} install --editable '{clone}[{extra}]'"


class MissingExtraError(UsageError):
    """An optional dependency is not installed.

    Args:
        what: What the user wanted to do, as the start of a sentence ("Training").
        extra: The extra of the `shopwindow` distribution that brings it.
    """

    def __init__(self, what: str, extra: str) -> None:
        self.what, self.extra = what, extra
        super().__init__(
            f"{what} needs packages that are not installed here: {how_to_install(extra)}"
        )

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        """Make it picklable: by default exceptions are rebuilt from their message alone."""
        return type(self), (self.what, self.extra)


class DataError(ShopwindowError):
    """A data set that cannot be used as it is."""


class ImageError(ShopwindowError):
    """An image that is not accepted. `http_status` is the status of the web app's response."""

    http_status = 400
    title = "This image cannot be used"


class UnsupportedImageError(ImageError):
    """The content is not one of the accepted image formats."""

    http_status = 415
    title = "Unsupported image format"


class OversizedImageError(ImageError):
    """The image has more bytes or pixels than the limit allows."""

    http_status = 413
    title = "Image too large"


class UnreadableImageError(ImageError):
    """The format is accepted, but the content is damaged or truncated."""

    http_status = 422
    title = "Damaged image"


class BusyError(ShopwindowError):
    """More requests than can be answered in time. A later retry may succeed.

    Args:
        message: As everywhere.
        at_once: Whether the request was refused without waiting.
    """

    retry_after_s = 1

    def __init__(self, message: str, *, at_once: bool = False) -> None:
        super().__init__(message)
        self.at_once = at_once


class ApiError(ShopwindowError):
    """A server's refusal, as RFC 9457 has it.

    Args:
        status: HTTP status.
        title: The kind of problem.
        detail: One sentence on this occurrence, the error's message.
        type: A URI that names the kind; `about:blank` where the status says it all.
    """

    def __init__(
        self,
        *,
        status: int,
        title: str,
        detail: str,
        type: str = "about:blank",  # noqa: A002, the name in RFC 9457
    ) -> None:
        super().__init__(detail)
        self.status, self.title, self.detail, self.type = status, title, detail, type


class BundleError(ShopwindowError):
    """A model file that is not a bundle, or one that cannot be read."""

    exit_code = 2


class GalleryError(ShopwindowError):
    """A gallery that cannot be read or written, or that another model made."""

    exit_code = 2


class BulkError(ShopwindowError):
    """A bulk run that had to stop; finished work is kept, and the same command resumes it."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: try again


class TrainingError(ShopwindowError):
    """A run that cannot start, resume or be exported."""


class WeightsError(TrainingError):
    """Pretrained weights that cannot be fetched or do not fit the network."""


class PromotionError(ShopwindowError):
    """A model that is not promoted, or none to roll back to; the current one stays in service."""


class DownloadError(ShopwindowError):
    """A data set that could not be downloaded."""


class StudioError(ShopwindowError):
    """What cannot be done with a project of the studio."""

    http_status = 422


class StudioConflictError(StudioError):
    """Somebody else has changed the same photos meanwhile; nothing was changed.

    Args:
        message: As everywhere.
        details: Further members of the response, JSON-ready.
    """

    http_status = 409

    def __init__(self, message: str, details: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.details = details or {}


class FeedbackError(ShopwindowError):
    """The feedback store cannot be opened, read or written."""

    exit_code = 2


class RefusedFeedbackError(FeedbackError):
    """Feedback that is not accepted.

    Args:
        message: As everywhere; it is shown to the client.
        http_status: What the web app answers, if not 422.
    """

    http_status = 422

    def __init__(self, message: str, *, http_status: int | None = None) -> None:
        super().__init__(message)
        if http_status is not None:
            self.http_status = http_status


class ReceiptError(RefusedFeedbackError):
    """A receipt that is not ours, was changed, or is too old."""


class ReviewedError(RefusedFeedbackError):
    """Feedback that was reviewed already, and stays as it is."""

    http_status = 409
