"""DATA -> a gallery: each photo is decoded once, and makes a thumbnail and an embedding."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from shopwindow.bundle import EMBEDDING_OUTPUT
from shopwindow.bundle.reading import Bundle
from shopwindow.errors import GalleryError, ImageError
from shopwindow.gallery.gallery_draft import GalleryDraft
from shopwindow.gallery.items import Item, Items
from shopwindow.gallery.schema import MAX_ITEMS, MAX_THUMBNAIL_BYTES
from shopwindow.imaging.decode import decode_image
from shopwindow.imaging.preprocess import preprocess
from shopwindow.imaging.thumbnail import jpeg_thumbnail
from shopwindow.inference.engine import available_cores
from shopwindow.inference.predictor import Predictor

THUMBNAIL_SIDE_PX = 200
_BATCH = 64

Prepared = tuple[NDArray[np.uint8], bytes] | str  # pixels for the model and a thumbnail, or why not


@dataclass(frozen=True, slots=True)
class GalleryTotals:
    """What came of it.

    Attributes:
        items: How many are in the gallery.
        resumed: How many of them an earlier run had added.
        begun_anew: Whether an unfinished gallery of other data or another model was dropped.
        failed: References of photos that could not be read, and why.
    """

    items: int
    resumed: int
    begun_anew: bool
    failed: list[tuple[str, str]]


def build_gallery(items: Items, predictor: Predictor, out: Path) -> GalleryTotals:
    """Make a gallery, which appears under its name once it is complete.

    A run that was stopped goes on where it was. On a terminal, a bar shows the time that is left.

    Args:
        items: From `read_items`.
        predictor: The model that will be served, with an embedding; see `require_embedding`.
        out: The file.

    Raises:
        DataError: None of the photos can be read.
        GalleryError: It cannot be written, or the model has no embedding.
        OSError: The disk is full.
    """
    require_embedding(predictor.bundle)
    if len(items.items) > MAX_ITEMS:
        raise GalleryError(
            f"Expected at most {MAX_ITEMS:,} items, found {len(items.items):,}: make several."
        )
    with contextlib.closing(GalleryDraft(out, _fingerprint(items, predictor))) as draft:
        resumed = draft.done - len(draft.failed)
        with tqdm(total=len(items.items), initial=draft.done, unit=" photos", disable=None) as bar:
            for batch, prepared in _prepare_batches(items, predictor, draft.done):
                read = [
                    (item, *one)
                    for item, one in zip(batch, prepared, strict=True)
                    if not isinstance(one, str)
                ]
                failed = [
                    (item.reference, one)
                    for item, one in zip(batch, prepared, strict=True)
                    if isinstance(one, str)
                ]
                embeddings = np.zeros((0, predictor.bundle.info.embedding), np.float32)
                if read:
                    images = np.stack([pixels for _, pixels, _ in read])
                    scores = predictor.probabilities(images, with_embedding=True)
                    embeddings = scores[EMBEDDING_OUTPUT]
                draft.add([(item, jpeg) for item, _, jpeg in read], embeddings, failed)
                bar.update(len(batch))
        count = draft.finish(predictor.bundle)
        return GalleryTotals(count, resumed, draft.begun_anew, draft.failed)


def require_embedding(bundle: Bundle) -> None:
    """Make sure that a model gives embeddings.

    Raises:
        GalleryError: It does not.
    """
    if not bundle.info.embedding:
        info = bundle.info
        raise GalleryError(
            f"Expected a model that gives embeddings, but {info.name} {info.version} does not: "
            "train or import it again, or name another with --model."
        )


def _prepare_batches(
    items: Items, predictor: Predictor, start: int
) -> Iterator[tuple[list[Item], list[Prepared]]]:
    """Yield items with their photos, one batch being decoded while the last one is used."""
    wanted = items.items
    starts = range(start, len(wanted), _BATCH)
    prepare = partial(_prepare, items, predictor)
    with ThreadPoolExecutor(available_cores(), thread_name_prefix="decode") as pool:
        try:
            ahead = [pool.submit(prepare, item) for item in wanted[start : start + _BATCH]]
            for first in starts:
                futures, following = ahead, first + _BATCH
                ahead = [
                    pool.submit(prepare, item) for item in wanted[following : following + _BATCH]
                ]
                batch = wanted[first:following]
                yield batch, [future.result() for future in futures]
        finally:  # also when Ctrl-C is pressed
            pool.shutdown(wait=True, cancel_futures=True)


def _prepare(items: Items, predictor: Predictor, item: Item) -> Prepared:
    rule = predictor.bundle.info.rule
    enough_height, enough_width = rule.enough_px
    least = max(enough_height, THUMBNAIL_SIDE_PX), max(enough_width, THUMBNAIL_SIDE_PX)
    try:
        image_hwc = decode_image(items.source.read_bytes(item.reference), least_px=least)
    except ImageError as error:
        return str(error)
    jpeg = jpeg_thumbnail(image_hwc, THUMBNAIL_SIDE_PX)
    if len(jpeg) > MAX_THUMBNAIL_BYTES:  # no photo makes as large a file at this size
        return f"Its thumbnail has {len(jpeg):,} bytes; at most {MAX_THUMBNAIL_BYTES:,} are stored."
    return preprocess(image_hwc, rule), jpeg


def _fingerprint(items: Items, predictor: Predictor) -> str:
    """Return a text that is another one for other items, photos or another model."""
    stamps = (items.source.stamp(item.reference) for item in items.items)
    lines = [predictor.bundle.sha256, str(THUMBNAIL_SIDE_PX)]
    lines += [
        json.dumps([*astuple(item), *stamp])
        for item, stamp in zip(items.items, stamps, strict=True)
    ]
    return "\n".join(lines)
