"""Example pictures that come with a model, for visitors without a photo."""

from __future__ import annotations

import importlib.resources
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO

from PIL import Image


@dataclass(frozen=True, slots=True)
class Example:
    """A picture file of the package.

    Attributes:
        name: In its address and its caption, such as "watch".
        content: The file, as an upload would be.
        format: As `ImageLimits.formats` has it, such as "WEBP".
        media_type: Such as "image/webp".
        width_px: As shown.
        height_px: As shown.
    """

    name: str
    content: bytes
    format: str
    media_type: str
    width_px: int
    height_px: int


@lru_cache(maxsize=8)
def find_examples(model_name: str) -> dict[str, Example]:
    """Return the examples that come with the model of that name, by their names; {} if none do."""
    root = importlib.resources.files("shopwindow") / "models" / "examples"
    # Compared, never joined: the name comes from the bundle, which may come from anywhere.
    folders = [folder for folder in root.iterdir() if folder.name == model_name]
    examples = {}
    for file in sorted(folders[0].iterdir(), key=lambda path: path.name) if folders else ():
        content = file.read_bytes()
        with Image.open(BytesIO(content)) as picture:
            name = file.name.partition(".")[0]
            format_ = picture.format or ""
            examples[name] = Example(name, content, format_, Image.MIME[format_], *picture.size)
    return examples
