"""URLs of other places, through fsspec: `s3://`, `gs://`, `abfs://`, `https://` and so on.

fsspec because one interface reads them all, pyarrow, pandas and Ray use it, and credentials are
found where each store's own tools look for them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from shopwindow.bulk.folders import has_wildcard
from shopwindow.errors import MissingExtraError, UsageError
from shopwindow.imaging.formats import IMAGE_SUFFIXES

_CHAIN = re.compile(r"::[a-z0-9+]+://")  # one thing in another, as in zip://a.jpg::s3://shop/b.zip


def is_url(name: str) -> bool:
    """Say whether a name is a URL rather than a path."""
    scheme, mark, _ = name.partition("://")
    return bool(mark) and scheme.isascii() and scheme.replace("+", "").isalnum()


def list_url(url: str) -> Iterator[str]:
    """Yield the URLs of the files that `url` means: itself, a folder or a pattern, in name order.

    What is there under the very name is that, and only what is not can be a pattern: `shoe [1].jpg`
    is a name. What is called like an image and cannot be a pattern is taken for one without asking.
    The names of one remote folder are in memory at a time, since fsspec gives them as one answer.

    Raises:
        UsageError: There is no such thing, or it cannot be listed.
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
                raise UsageError(f"Nothing fits the pattern {url}.")
            for name, entry in sorted(found.items()):
                if entry["type"] == "file":
                    yield files.unstrip_protocol(name)
        else:
            raise UsageError(f"There is nothing at {url}.")
    except UsageError:
        raise
    except Exception as error:  # each kind of store has its own
        raise UsageError(f"{url} cannot be listed: {error}") from error


def read_url(url: str, limit_bytes: int) -> bytes:
    """Return at most `limit_bytes` of an object.

    Raises:
        OSError: It is missing, or may not be read.
        UsageError: Its kind of URL cannot be read here.
    """
    files, path = _filesystem(url)
    try:
        content: bytes = files.cat_file(path, start=0, end=limit_bytes)  # one request, no more
    except (FileNotFoundError, PermissionError):
        raise
    except OSError:
        if files.size(path):
            raise
        return b""  # a store refuses a range of what is empty
    return content


def open_url(url: str, *, text: bool = False) -> Any:
    """Open an object for reading, as bytes or as UTF-8 text.

    Raises:
        OSError: It is missing, or may not be read.
        UsageError: Its kind of URL cannot be read here.
    """
    files, path = _filesystem(url)
    file = files.open(path, "rb")
    return io.TextIOWrapper(file, "utf-8-sig", newline="") if text else file


def _filesystem(url: str) -> tuple[Any, str]:
    try:
        from fsspec import filesystem, get_filesystem_class
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingExtraError("Reading URLs", "remote") from error
    try:
        # Listings are not kept: fsspec would hold every name that it has seen.
        if _CHAIN.search(url):
            files, path = url_to_fs(url, use_listings_cache=False)
        else:  # `::` is part of a name, which url_to_fs does not believe
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
