"""What is decoded at all: how large, which formats, how many frames."""

from __future__ import annotations

from dataclasses import dataclass

from shopwindow.settings import (
    ACCEPTED_FORMATS,
    DEFAULT_MAX_PIXELS,
    HIGHEST_MAX_PIXELS,
    Settings,
)


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What an image file must keep to, seen before anything is decoded.

    Attributes:
        max_pixels: Width x height above which an image is refused, 1 to 89 million.
        formats: What is accepted, told from the content; some of `ACCEPTED_FORMATS`.
        max_frames: More frames or pages than these are refused; 0 sets no limit. Only the first is
            ever decoded.

    Raises:
        ValueError: A value is out of range.
    """

    max_pixels: int = DEFAULT_MAX_PIXELS
    formats: tuple[str, ...] = ACCEPTED_FORMATS
    max_frames: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.max_pixels <= HIGHEST_MAX_PIXELS:
            raise ValueError(
                f"max_pixels: expected 1 to {HIGHEST_MAX_PIXELS:,}, got {self.max_pixels:,}"
            )
        if not self.formats or not set(self.formats) <= set(ACCEPTED_FORMATS):
            raise ValueError(
                f"formats: expected some of {', '.join(ACCEPTED_FORMATS)}, got {self.formats}"
            )
        if self.max_frames < 0:
            raise ValueError(f"max_frames: expected at least 0, got {self.max_frames}")

    @classmethod
    def of(cls, settings: Settings) -> ImageLimits:
        """Return the limits that a server's settings name."""
        return cls(settings.max_pixels, settings.accepted_formats, settings.max_frames)
