"""The settings of the server: name, default, unit and help. docs/settings.md lists the same."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any

from shopwindow.errors import UsageError

PREFIX = "SHOPWINDOW_"
OTHER_VARIABLES = frozenset({"SHOPWINDOW_CACHE_DIR"})  # read by data/cache.py, not by a server

# What can be decoded at all; imaging/decode.py has the reasons.
ACCEPTED_FORMATS: tuple[str, ...] = (
    *("JPEG", "PNG", "WEBP", "HEIC", "AVIF"),
    *("GIF", "BMP", "TIFF", "PPM"),
)
DEFAULT_MAX_PIXELS = 50_000_000
# Above this Pillow warns by itself (`Image.MAX_IMAGE_PIXELS`, a global that is not ours to set).
HIGHEST_MAX_PIXELS = 89_000_000

# Visible ASCII, which a header can carry, and too long to guess.
_SECRET = re.compile(r"[!-~]{16,200}")
# What a browser sends as `Origin`: no path, no slash at the end, and never "*" or "null".
_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?")
# Not "//elsewhere", which is another site.
_PATH_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")


def _setting(
    default: Any,
    unit: str,
    help_text: str,
    *,
    least: int | None = None,
    most: int | None = None,
    choices: tuple[str, ...] = (),
    several: bool = False,
    secret: bool = False,
    private: bool = False,
) -> Any:
    metadata = {
        "unit": unit,
        "help": help_text,
        "least": least,
        "most": most,
        "choices": choices,
        "several": several,
        "secret": secret,
        "private": private or secret,
    }
    return field(default=default, metadata=metadata, repr=not metadata["private"])


@dataclass(frozen=True, slots=True)
class Settings:
    """How the server behaves. Each setting can be given as `SHOPWINDOW_<NAME>` in the environment.

    Raises:
        UsageError: A value of the wrong type or out of its range.
    """

    host: str = _setting(
        "127.0.0.1", "address", "Address to listen on; 0.0.0.0 opens the app to the network."
    )
    port: int = _setting(5000, "port", "Port to listen on.", least=0, most=65535)
    model: str = _setting("", "path", "The bundle to serve; empty serves the bundled one.")
    gallery: str = _setting(
        "", "path", "The gallery whose similar items are shown; empty shows none."
    )
    max_upload_bytes: int = _setting(
        10 * 1024 * 1024, "bytes", "Largest request body that is accepted.", least=1024
    )
    max_pixels: int = _setting(
        DEFAULT_MAX_PIXELS,
        "pixels",
        "Largest image (width x height) that is decoded.",
        least=1,
        most=HIGHEST_MAX_PIXELS,
    )
    formats: str = _setting(
        ",".join(ACCEPTED_FORMATS),
        "formats",
        "Accepted formats, recognised by content; any of these, separated by commas.",
        choices=ACCEPTED_FORMATS,
        several=True,
    )
    max_frames: int = _setting(
        0,
        "frames",
        "Most frames or pages of an image; 0 sets no limit. Only the first is ever decoded.",
        least=0,
    )
    max_files: int = _setting(10, "files", "Most images in one request.", least=1, most=1000)
    top: int = _setting(5, "labels", "How many labels a prediction lists.", least=1, most=1000)
    threads: int = _setting(
        0,
        "threads",
        "Processor threads for a single run of the model; 0 uses one per core.",
        least=0,
    )
    max_waiting: int = _setting(
        64,
        "requests",
        "Most prediction requests at a time, waiting or running; further ones get 503.",
        least=1,
        most=1000,
    )
    deadline_s: int = _setting(
        10, "seconds", "A request that waits longer is dropped before any work is done.", least=1
    )

    engine: str = _setting(
        "auto",
        "engine",
        "What runs the model: onnxruntime, openvino, or auto for the better one on this processor.",
        choices=("auto", "onnxruntime", "openvino"),
    )
    max_connections: int = _setting(
        1000, "connections", "Most open connections; further ones wait.", least=10, most=100_000
    )
    receive_s: int = _setting(
        120, "seconds", "A request that takes longer to arrive is cut off.", least=1
    )
    model_check_s: int = _setting(
        5, "seconds", "How often to look for a new model file; 0 never looks.", least=0
    )
    api_key: str = _setting(
        "",
        "secret",
        "The bearer token or password that requests must carry; empty lets everyone in.",
        secret=True,
    )
    rate_limit: int = _setting(
        0,
        "requests",
        "Most requests with images per minute and client address; 0 sets no limit.",
        least=0,
    )
    cors_origins: str = _setting(
        "",
        "origins",
        "Sites whose pages may call the API, such as https://shop.example, separated by commas.",
    )
    trusted_proxies: int = _setting(
        0,
        "proxies",
        "Number of proxies in front; as many final entries of X-Forwarded-For are trusted.",
        least=0,
        most=10,
    )
    path_prefix: str = _setting(
        "", "path", "Where a proxy shows the app, such as /photos; empty is the root."
    )
    feedback: str = _setting(
        "",
        "path or URL",
        "The database for feedback; empty uses a file in the user's folder, off keeps none.",
        private=True,  # a URL may contain a password
    )
    feedback_keep_days: int = _setting(
        180,
        "days",
        "How long to keep photos that visitors agreed to share.",
        least=1,
        most=36_500,
    )
    feedback_max_rows: int = _setting(
        200_000, "rows", "Most feedback that is kept; any more is refused.", least=1
    )
    feedback_max_photos: int = _setting(
        10_000,
        "photos",
        "Most photos that are kept; further feedback is kept without its photo.",
        least=0,
    )
    review_password: str = _setting(
        "", "secret", "The password for /review and /studio; empty keeps them closed.", secret=True
    )
    studio: str = _setting(
        "",
        "path",
        "The folder of a project to offer at /studio; empty offers none, on takes the folder "
        "studio.",
    )
    secret_key: str = _setting(
        "", "secret", "The key that signs receipts; empty uses the store's own.", secret=True
    )
    log_format: str = _setting(
        "text", "text or json", "The format of log lines.", choices=("text", "json")
    )
    log_level: str = _setting(
        "warning",
        "level",
        "What is logged: info (every request), warning or error.",
        choices=("info", "warning", "error"),
    )

    def __post_init__(self) -> None:
        for setting in fields(self):
            value: Any = getattr(self, setting.name)
            if not _is_allowed(setting, value):
                found = (
                    f"{len(str(value))} characters" if setting.metadata["private"] else repr(value)
                )
                raise UsageError(f"{setting.name}: expected {_expected(setting)}, found {found}.")
        if not self.host:
            raise UsageError("host: expected an address, found ''.")
        if not is_path_prefix(self.path_prefix):
            raise UsageError(
                "path_prefix: expected a path without a slash at its end, such as /photos, "
                f"found {self.path_prefix!r}."
            )

        for origin in self.allowed_origins:
            if not _ORIGIN.fullmatch(origin):
                raise UsageError(
                    "cors_origins: expected addresses such as https://shop.example, without a "
                    f"path and in small letters, separated by commas; found {origin!r}."
                )

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """The setting `cors_origins` as a tuple."""
        return tuple(origin.strip() for origin in self.cors_origins.split(",") if origin.strip())

    @property
    def accepted_formats(self) -> tuple[str, ...]:
        """The setting `formats` as a tuple, in the order of `ACCEPTED_FORMATS`."""
        wanted = _split(self.formats)
        return tuple(name for name in ACCEPTED_FORMATS if name in wanted)

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str] | None = None, **overrides: Any
    ) -> Settings:
        """Read the settings from `SHOPWINDOW_...` variables.

        Args:
            environment: Instead of `os.environ`.
            **overrides: Values that win over the environment, such as command line options; None
                means not given.

        Raises:
            UsageError: An unknown name, or a value that cannot be used.
        """
        environment = os.environ if environment is None else environment
        known = {PREFIX + setting.name.upper(): setting for setting in fields(cls)}
        values: dict[str, Any] = {}
        for variable, text in environment.items():
            if not variable.startswith(PREFIX) or variable in OTHER_VARIABLES:
                continue
            if variable not in known:
                raise UsageError(
                    f"{variable} is not a setting: expected one of {', '.join(sorted(known))}."
                )
            values[known[variable].name] = _parse(variable, text, known[variable])
        values |= {name: value for name, value in overrides.items() if value is not None}
        return cls(**values)


def is_path_prefix(text: str) -> bool:
    """Whether text is empty or a path without a slash at its end, such as `/photos`."""
    return _PATH_PREFIX.fullmatch(text) is not None


def _parse(variable: str, text: str, setting: Field[Any]) -> str | int:
    if isinstance(setting.default, str):
        return text
    try:
        return int(text.strip().replace("_", ""))
    except ValueError:
        raise UsageError(f"{variable}: expected {_expected(setting)}, found {text!r}.") from None


def _is_allowed(setting: Field[Any], value: Any) -> bool:
    right_type: bool = type(value) is type(setting.default)  # bool is an int, but not a number here
    if not right_type:
        return False
    choices, least, most = (setting.metadata[key] for key in ("choices", "least", "most"))
    if setting.metadata["several"]:
        return _split(value) <= set(choices)
    if choices:
        return value in choices
    if setting.metadata["secret"]:
        return not value or _SECRET.fullmatch(value) is not None
    return (least is None or value >= least) and (most is None or value <= most)


def _expected(setting: Field[Any]) -> str:
    if setting.metadata["secret"]:
        return "16 to 200 visible ASCII characters without spaces"
    if setting.metadata["several"]:
        return f"some of {', '.join(setting.metadata['choices'])}, separated by commas"
    if setting.metadata["choices"]:
        return f"one of {', '.join(setting.metadata['choices'])}"
    if isinstance(setting.default, str):
        return "text"
    least, most = setting.metadata["least"], setting.metadata["most"]
    bounds = [f"at least {least:,}"] if least is not None else []
    bounds += [f"at most {most:,}"] if most is not None else []
    return " ".join(["a whole number", ", ".join(bounds)]).strip()


def _split(text: str) -> set[str]:
    return {name.strip().upper() for name in text.split(",")}
