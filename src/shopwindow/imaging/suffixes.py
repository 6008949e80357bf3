"""Which files of a folder are taken for images.

Only for finding them: what a file really is, its content decides (`imaging.decode`). Formats that
cannot be decoded here are on the list as well, so that such a photo is reported instead of missed.
"""

# What browsers and programs call each format that is read; a name or a type never decides.
MEDIA_TYPES: dict[str, tuple[str, ...]] = {
    "JPEG": ("image/jpeg",),
    "PNG": ("image/png",),
    "WEBP": ("image/webp",),
    "HEIC": ("image/heic", "image/heif"),
    "AVIF": ("image/avif",),
    "GIF": ("image/gif",),
    "BMP": ("image/bmp",),
    "TIFF": ("image/tiff",),
    "PPM": ("image/x-portable-anymap",),
}
# Where the system seldom knows the type, file dialogs go by the ending.
ENDINGS: dict[str, tuple[str, ...]] = {
    "HEIC": (".heic", ".heif"),
    "AVIF": (".avif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib"}
    | {".tif", ".tiff"}
    | {".heic", ".heics", ".heif", ".heifs", ".hif", ".avif", ".avifs"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".jxl", ".jp2", ".psd", ".dng"}
)
