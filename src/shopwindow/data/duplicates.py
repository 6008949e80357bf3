"""Exact and near duplicates: the same picture again, rescaled, recompressed or a little brighter.

Each image is reduced to a thumbnail with its brightness and contrast taken out. Two images are
duplicates where the thumbnails differ by less than `LIMIT` of their contrast. No pair is missed:
the distance between two points along the first principal axis is never more than their distance
in space, so sorting by that axis and comparing neighbours finds what comparing all with all finds,
in a hundredth of the time. Limit, method and what was tried: docs/decisions/duplicates.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shopwindow.atomic_write import write_atomically
from shopwindow.data.cache import ImageCache

# Root mean square difference of two thumbnails, as a fraction of their contrast.
LIMIT = 0.05
_MAX_BRIGHTNESS_DIFFERENCE = 20.0  # of 255, between the means of two images
_MAX_CONTRAST_RATIO = 1.2
_MIN_CONTRAST = 2.0  # of 255: less is noise on a blank page, not to be magnified
_SIDE = 16
_COARSE_SIDE = 4
_BLOCK = 512
_VERSION = 1  # raise it when the groups change, for they lie beside the image cache


def find_duplicates(images_nhwc: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Group images that show the same picture.

    Args:
        images_nhwc: (N, S, T, 3) uint8, RGB; may be a memory map.

    Returns:
        (N,) int64: for each image the smallest index of its group. An image without duplicates is
        a group of its own.
    """
    return group_signatures(signatures_of(images_nhwc))


def signatures_of(images_nhwc: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return what images are compared by: (N, S, T, 3) uint8, RGB -> (N, 768) float32."""
    return _thumbnails(images_nhwc)


def group_signatures(signatures: NDArray[np.float32]) -> NDArray[np.int64]:
    """Group images as `find_duplicates` does, by their (N, 768) signatures."""
    return _group(signatures)


def resemble(
    images: Iterable[NDArray[np.uint8]], others: Iterable[NDArray[np.uint8]]
) -> NDArray[np.bool_]:
    """Say which images show the same picture as any of the others.

    Args:
        images: Blocks of (n, S, T, 3) uint8, RGB, of any lengths; N images in all.
        others: Blocks of the same kind.

    Returns:
        (N,) bool.
    """
    parts = [_thumbnails(block) for block in images]
    if not parts:
        return np.empty(0, np.bool_)
    own = np.concatenate(parts)
    groups = _group(np.concatenate([own, *map(_thumbnails, others)]))
    return np.isin(groups[: len(own)], groups[len(own) :])


def _group(thumbnails: NDArray[np.float32]) -> NDArray[np.int64]:
    groups = _exact_groups(thumbnails)
    representatives = np.unique(groups)
    points = thumbnails[representatives]
    brightness = points.mean(1)
    points -= brightness[:, None]
    contrast = np.maximum(points.std(1), _MIN_CONTRAST)
    points /= contrast[:, None]
    near = _near_groups(points, brightness, contrast, LIMIT)
    position = np.searchsorted(representatives, groups)
    result: NDArray[np.int64] = representatives[near[position]]
    return result


def open_duplicates(cache: ImageCache) -> NDArray[np.int64]:
    """Return the groups of a cache's images; computed once, then kept beside them.

    Returns:
        (N,) int64, as from `find_duplicates`. Images that failed to decode mean nothing here.
    """
    path = cache.folder / f"duplicates-{_VERSION}.npy"
    try:
        groups: NDArray[np.int64] = np.load(path, allow_pickle=False)
        if groups.shape == cache.images_nhwc.shape[:1] and groups.dtype == np.int64:
            return groups
    except (OSError, ValueError, EOFError):
        pass  # not there yet, or damaged: compute it (again)
    groups = find_duplicates(cache.images_nhwc)
    # A read-only cache costs a few seconds each time, which is no reason to stop.
    with contextlib.suppress(OSError):
        _write(path, groups)
    return groups


def _write(path: Path, groups: NDArray[np.int64]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, groups)
    write_atomically(path, buffer.getbuffer())


def _thumbnails(images_nhwc: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return (N, 16 x 16 x 3) float32, each value the mean over its area of the image."""
    count, height, width, _ = images_nhwc.shape
    rows, columns = _area_weights(height), _area_weights(width)
    result = np.empty((count, _SIDE, _SIDE, 3), np.float32)
    for start in range(0, count, _BLOCK):
        block = np.asarray(images_nhwc[start : start + _BLOCK]).astype(np.float32)
        flat = rows @ block.reshape(len(block), height, width * 3)
        result[start : start + _BLOCK] = columns @ flat.reshape(len(block), _SIDE, width, 3)
    return result.reshape(count, _SIDE * _SIDE * 3)


def _area_weights(pixels: int) -> NDArray[np.float32]:
    """Return (16, pixels): the fraction of each pixel in each of 16 equal parts of a line."""
    edges = np.linspace(0, pixels, _SIDE + 1)
    pixel = np.arange(pixels)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    weights = np.maximum(overlap, 0)
    share: NDArray[np.float32] = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return share


def _exact_groups(thumbnails: NDArray[np.float32]) -> NDArray[np.int64]:
    first: dict[bytes, int] = {}
    return np.array(
        [
            first.setdefault(hashlib.blake2b(row.tobytes(), digest_size=16).digest(), index)
            for index, row in enumerate(thumbnails)
        ],
        np.int64,
    )


def _near_groups(
    points: NDArray[np.float32],
    brightness: NDArray[np.float32],
    contrast: NDArray[np.float32],
    limit: float,
) -> NDArray[np.int64]:
    """Return the smallest index of each point's group: the connected components of close pairs."""
    groups = np.arange(len(points))
    for left, right in _close_pairs(points, limit):
        same = np.abs(brightness[left] - brightness[right]) <= _MAX_BRIGHTNESS_DIFFERENCE
        ratio = contrast[left] / contrast[right]
        same &= np.maximum(ratio, 1 / ratio) <= _MAX_CONTRAST_RATIO
        groups = _join(groups, left[same], right[same])
    # A chain of slightly different pictures is no group: its ends have nothing in common. Some of
    # its members lie far from the mean; it is taken apart with a tighter limit.
    for group in np.flatnonzero(np.bincount(groups, minlength=1) > 2):
        members = np.flatnonzero(groups == group)
        spread = points[members] - points[members].mean(0)
        if np.sqrt((spread**2).mean(1)).max() > 2 * limit:
            parts = _near_groups(points[members], brightness[members], contrast[members], limit / 2)
            groups[members] = members[parts]
    return groups


def _close_pairs(
    points: NDArray[np.float32], limit: float
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield all pairs, in blocks, with a root mean square difference below `limit`."""
    count = len(points)
    if count < 2:
        return
    # Means over 4 x 4 pixels, turned so that the first axis is the one along which most differs. In
    # units of root mean square difference, and never farther apart than the thumbnails themselves.
    parts = _SIDE // _COARSE_SIDE
    shape = (count, _COARSE_SIDE, parts, _COARSE_SIDE, parts, 3)
    coarse = points.reshape(shape).mean((2, 4)).reshape(count, -1)
    _, axes = np.linalg.eigh(coarse.T @ coarse)
    reduced = coarse @ axes[:, ::-1] / np.sqrt(np.float32(coarse.shape[1]))
    order = np.argsort(reduced[:, 0], kind="stable")
    reduced = reduced[order]
    squares = (reduced**2).sum(1)
    ends = np.searchsorted(reduced[:, 0], reduced[:, 0] + np.float32(limit), side="right")
    for start in range(0, count, _BLOCK):
        stop = min(start + _BLOCK, count)
        end = int(ends[stop - 1])
        distances = squares[start:stop, None] + squares[None, start:end]
        distances -= 2 * (reduced[start:stop] @ reduced[start:end].T)
        # 1e-5 covers float32 rounding; the full thumbnails decide below.
        # np.nonzero on two axes takes three times as long.
        hits = np.flatnonzero(distances < limit**2 + 1e-5)
        left, right = np.divmod(hits, end - start)
        left, right = left[right > left], right[right > left]
        for first in range(0, len(left), 50_000):
            a = order[left[first : first + 50_000] + start]
            b = order[right[first : first + 50_000] + start]
            close = np.sqrt(((points[a] - points[b]) ** 2).mean(1)) < limit
            yield a[close], b[close]


def _join(
    groups: NDArray[np.int64], left: NDArray[np.int64], right: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Join the groups of each pair. Each group is named after its smallest member."""
    while True:
        a, b = groups[left], groups[right]
        apart = a != b
        if not apart.any():
            return groups
        np.minimum.at(groups, np.maximum(a, b)[apart], np.minimum(a, b)[apart])
        while (groups[groups] != groups).any():
            groups = groups[groups]
