"""Every failure that shopwindow reports, as one tree.

::

    ShopwindowError                 one sentence: what was expected, what was found, what to do
    ├── UsageError                  a wrong argument, column name or path            CLI exit code 2
    │   └── MissingExtraError       an optional dependency is not installed          CLI exit code 2
    ├── DataError                   a data set that cannot be used as it is
    ├── ImageError                  bytes that are not an image we accept            HTTP 4xx
    │   ├── UnsupportedImageError   not one of the accepted formats                  HTTP 415
    │   ├── OversizedImageError     more bytes or pixels than the limit              HTTP 413
    │   └── UnreadableImageError    an accepted format, but damaged or truncated     HTTP 422
    ├── BusyError                   more is asked than can be answered in time       HTTP 503
    ├── BundleError                 a model file that is not a (readable) bundle    CLI exit code 2
    ├── BulkError                   a bulk run that had to stop, and can go on      CLI exit code 75
    ├── TrainingError               a run that cannot start, resume or be exported
    │   └── WeightsError            pretrained weights that cannot be had or do not fit
    ├── PromotionError              a bundle that is not put in service, or none to go back to
    ├── DownloadError               a data set that could not be fetched
    └── FeedbackError               the feedback store cannot be used               CLI exit code 2
        └── RefusedFeedbackError    feedback that is not accepted                    HTTP 4xx, 503
            ├── ReceiptError        a receipt that is foreign, changed or too old    HTTP 422
            └── ReviewedError       feedback that was reviewed, and stays as it is   HTTP 409

Messages are written for the person who caused them. They never carry a stack trace, and those of
`ImageError` never carry a path, since they are shown to clients of the web app.
"""


class ShopwindowError(Exception):
    """Base of all errors that shopwindow raises on purpose."""

    exit_code = 1


class UsageError(ShopwindowError):
    """A wrong argument, column name or path."""

    exit_code = 2


class MissingExtraError(UsageError):
    """An optional dependency is not installed.

    Args:
        what: What the user wanted to do, as the start of a sentence ("Training").
        extra: The extra of the `shopwindow` distribution that brings it.
    """

    def __init__(self, what: str, extra: str) -> None:
        self.what, self.extra = what, extra
        # A clone keeps them in an environment of their own, beside the one that serves.
        clone = "make dev-environment in a clone, else " if extra == "train" else ""
        super().__init__(
            f"{what} needs packages that are not installed here: {clone}pip install "
            f"'shopwindow[{extra}]'"
        )

    def __reduce__(self) -> tuple[type["MissingExtraError"], tuple[str, str]]:
        """Let it travel between processes, which pickle exceptions by their message alone."""
        return type(self), (self.what, self.extra)


class DataError(ShopwindowError):
    """A data set that cannot be used as it is."""


class ImageError(ShopwindowError):
    """Bytes that are not an image we accept. `http_status` is what the web app answers."""

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
    """More is asked than can be answered in time. Whoever asks again later may get an answer.

    Args:
        message: As everywhere.
        at_once: Whether it was refused without having waited for anything.
    """

    retry_after_s = 1

    def __init__(self, message: str, *, at_once: bool = False) -> None:
        super().__init__(message)
        self.at_once = at_once


class BundleError(ShopwindowError):
    """A model file that is not a bundle, or one that cannot be read."""

    exit_code = 2


class BulkError(ShopwindowError):
    """A bulk run that had to stop; what is done is kept, and the same command goes on."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: try again


class TrainingError(ShopwindowError):
    """A run that cannot start, resume or be exported."""


class WeightsError(TrainingError):
    """Pretrained weights that cannot be fetched or do not fit the network."""


class PromotionError(ShopwindowError):
    """A bundle that is not put in service, or none to go back to; the one in service goes on."""


class DownloadError(ShopwindowError):
    """A data set that could not be fetched."""


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
