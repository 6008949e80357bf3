"""Which files of a folder are taken for images.

Only for finding them: what a file really is, its content decides (`imaging.decode`). Formats that
cannot be decoded here are on the list as well, so that such a photo is reported instead of missed.
"""

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib"}
    | {".tif", ".tiff"}
    | {".heic", ".heif", ".avif", ".jxl", ".jp2", ".psd", ".dng"}
)
