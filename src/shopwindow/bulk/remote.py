"""Files at URLs, through fsspec: `s3://`, `gs://`, `abfs://`, `https://` and so on.

fsspec because one interface reads them all, because pyarrow, pandas and Ray use it, and because it
finds credentials where each store's own tools do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from shopwindow.bulk.listing import has_wildcard
from shopwindow.errors import MissingExtraError, UsageError
from shopwindow.imaging.formats import IMAGE_SUFFIXES

_CHAIN = re.compile(r"::[a-z0-9+]+://")  # one thing in another, as in zip://a.jpg::s3://shop/b.zip


def is_url(name: str) -> bool:
    """Say whether a name is a URL rather than a path."""
    scheme, mark, _ = name.partition("://")
    return bool(mark) and scheme.isascii() and scheme.replace("+", "").isalnum()


def list_url(url: str) -> Iterator[str]:
    """Yield the URLs of the files that `url` stands for: itself, a folder or a pattern, in order.

    What exists under that name is meant, and anything else may be a pattern: `shoe [1].jpg` is a
    name first. A name of an image that cannot be a pattern is yielded without asking the store.
    The names of one remote folder are in memory at a time, since fsspec lists it in one piece.

    Raises:
        UsageError: It does not exist, or cannot be listed.
        MissingExtraError: fsspec, or what it needs for this kind of URL, is not installed.
    """
    files, path = _filesystem(url)
    try:
        wild = has_wildcard(path)
        if _suffix(path) in IMAGE_SUFFIXES and (not wild or files.exists(path)):
            yield url
        elif files.isdir(path):
            for place, _, entries in files.walk(path, detail=True):
                for name in sorted(entries):
                    if _suffix(name) in IMAGE_SUFFIXES and not name.startswith("."):
                        yield files.unstrip_protocol(f"{place}/{name}")
        elif files.exists(path):
            yield url
        elif wild:
            found = files.glob(path, detail=True)
            if not found:
                raise UsageError(f"Nothing matches the pattern {url}.")
            for name, entry in sorted(found.items()):
                if entry["type"] == "file":
                    yield files.unstrip_protocol(name)
        else:
            raise UsageError(f"There is nothing at {url}.")
    except UsageError:
        raise
    except Exception as error:  # each kind of store raises its own
        raise UsageError(f"{url} cannot be listed: {error}") from error


def read_url(url: str, limit_bytes: int) -> bytes:
    """Return at most `limit_bytes` of an object.

    Raises:
        OSError: It is missing or may not be read.
        UsageError: This kind of URL cannot be read here.
    """
    files, path = _filesystem(url)
    try:
        content: bytes = files.cat_file(path, start=0, end=limit_bytes)  # a single request
    except (FileNotFoundError, PermissionError):
        raise
    except OSError:
        if files.size(path):
            raise
        return b""  # stores refuse a range of an empty object
    return content


def open_url(url: str) -> Any:
    """Open an object for reading bytes.

    Raises:
        OSError: It is missing or may not be read.
        UsageError: This kind of URL cannot be read here.
    """
    files, path = _filesystem(url)
    return files.open(path, "rb")


def _filesystem(url: str) -> tuple[Any, str]:
    try:
        from fsspec import filesystem, get_filesystem_class
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingExtraError("Reading URLs", "remote") from error
    try:
        # No listings cache: fsspec would hold every name that it has seen.
        if _CHAIN.search(url):
            files, path = url_to_fs(url, use_listings_cache=False)
        else:  # url_to_fs would split a name that contains `::`
            scheme = url.partition("://")[0]
            kind = get_filesystem_class(scheme)
            options = {"use_listings_cache": False, **kind._get_kwargs_from_urls(url)}
            files, path = filesystem(scheme, **options), kind._strip_protocol(url)
    except ImportError as error:
        raise UsageError(f"{url}: {error}") from error
    except (ValueError, TypeError) as error:
        raise UsageError(f"{url} is not a URL that can be read: {error}") from error
    return files, path


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()
