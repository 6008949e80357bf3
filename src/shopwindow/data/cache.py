"""Images decoded once into a memory-mapped array, so that an epoch never opens a JPEG.

A cache is a folder named after a hash of all that its pixels depend on. It is built under another
name and renamed when it is complete: an interrupted build is never used, and of two processes that
build the same cache, the second takes that of the first. A cache that nobody has opened for 90 days
is removed when another is built: its images may have changed or gone long ago.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray
from tqdm import tqdm

from shopwindow.data.labelled_images import LabelledImages
from shopwindow.errors import DataError, ImageError
from shopwindow.imaging.decode import decode_image
from shopwindow.imaging.formats import digest_of
from shopwindow.imaging.preprocess import ResizeRule, preprocess

# Raise this when decode_image or preprocess give other pixels than before.
PIXELS_VERSION = 2
_CHUNK_IMAGES = 128
_STALE_AFTER_S = 24 * 3600
_UNOPENED_AFTER_S = 90 * 24 * 3600
_OWN_FILE = re.compile(
    r"(images|digests)\.npy|failures\.json|duplicates-\d+\.npy|\.?features-[0-9a-z.]+"
)
_BUILDING = ".building-"


@dataclass(frozen=True)
class ImageCache:
    """All images of a catalogue, decoded and resized.

    Attributes:
        folder: Where it is.
        images_nhwc: uint8 (N, S, T, 3), RGB, 0 to 255, read-only; all 0 where decoding failed.
        failures: Index of each image that could not be decoded, with the reason.
        digests: uint64 (N,), `digest_of` each image's file; 0 where it could not be read.
    """

    folder: Path
    images_nhwc: NDArray[np.uint8]
    failures: dict[int, str]
    digests: NDArray[np.uint64]

    def open_features(self, name: str, width: int) -> np.memmap[Any, np.dtype[np.float16]]:
        """Open a file of features, (N, width) float16; a new one is full of NaN.

        Processes that write at once write the same values, so that none has to wait for another.

        Raises:
            DataError: The disk has no room for it.
        """
        path = self.folder / f"features-{name}.npy"
        shape = (len(self.images_nhwc), width)
        try:
            kept = np.lib.format.open_memmap(path, "r+")
            if kept.shape == shape and kept.dtype == np.float16:
                return kept
        except (OSError, ValueError):
            pass  # there is none yet, or a damaged one
        _check_room("The features take", self.folder.parent, 2 * shape[0] * width)
        building = self.folder / f".{path.name}.{os.getpid()}.npy"
        try:
            np.save(building, np.full(shape, np.nan, np.float16), allow_pickle=False)
            building.replace(path)
            return np.lib.format.open_memmap(path, "r+")
        except OSError as error:
            building.unlink(missing_ok=True)
            raise DataError(
                f"The features of the images cannot be written to {self.folder.parent}: "
                f"{error.strerror or error}. Set SHOPWINDOW_CACHE_DIR to a writable folder."
            ) from error


def default_cache_dir() -> Path:
    """Return `$SHOPWINDOW_CACHE_DIR`, `$XDG_CACHE_HOME/shopwindow` or `~/.cache/shopwindow`.

    Raises:
        DataError: None of them, since this user has no home folder.
    """
    if own := os.environ.get("SHOPWINDOW_CACHE_DIR"):
        return Path(own).expanduser()
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared).expanduser() / "shopwindow"
    try:
        return Path("~/.cache/shopwindow").expanduser()
    except RuntimeError:
        raise DataError(
            "This user has no home folder to keep decoded images in: set SHOPWINDOW_CACHE_DIR to a "
            "writable folder."
        ) from None


def open_cache(
    catalogue: LabelledImages,
    rule: ResizeRule,
    cache_dir: Path | None = None,
    *,
    progress: bool = True,
) -> ImageCache:
    """Open the cache of a catalogue's images, and build it first where there is none.

    Args:
        catalogue: The images, N of them.
        rule: Size (S, T) in pixels and resize method.
        cache_dir: By default `default_cache_dir()`. A cache takes N x S x T x 3 bytes.
        progress: Show a progress bar with the time left on stderr while building.

    Raises:
        DataError: The folder cannot be written, or the disk has no room for the cache.
    """
    parent = cache_dir or default_cache_dir()
    folder = parent / _key(catalogue, rule)
    shape = (len(catalogue), rule.height_px, rule.width_px, 3)
    cache = _load(folder, shape)
    if cache is None:
        try:
            _build(catalogue, rule, folder, shape, progress=progress)
        except OSError as error:
            raise DataError(
                f"The image cache cannot be written to {parent}: {error.strerror or error}. Set "
                "SHOPWINDOW_CACHE_DIR to a folder that can."
            ) from error
        cache = _load(folder, shape)
    if cache is None:
        raise DataError(f"The image cache {folder} cannot be read: delete this folder.")
    with suppress(OSError):  # on a read-only disk, or somebody else's
        os.utime(folder)
    return cache


def _key(catalogue: LabelledImages, rule: ResizeRule) -> str:
    """Hash all that the pixels depend on: files, resize rule, and the code that decodes."""
    versions = f"{PIXELS_VERSION} pillow {PIL.__version__}"
    digest = hashlib.sha256(json.dumps([versions, rule.as_json()], sort_keys=True).encode())
    digest.update(os.fsencode(catalogue.source.root))
    for reference in catalogue.references:
        size, modified_ns = catalogue.source.stamp(reference)
        line = f"\0{reference}\0{size}\0{modified_ns}"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def _load(folder: Path, shape: tuple[int, ...]) -> ImageCache | None:
    try:
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        digests = np.load(folder / "digests.npy", allow_pickle=False)
        failures = json.loads((folder / "failures.json").read_text("utf-8"))
    except (OSError, ValueError, EOFError):
        return None
    if images.shape != shape or images.dtype != np.uint8 or not isinstance(failures, dict):
        return None
    if digests.shape != shape[:1] or digests.dtype != np.uint64:
        return None
    failures = {int(index): text for index, text in failures.items()}
    return ImageCache(folder, images, failures, digests)


def _build(
    catalogue: LabelledImages,
    rule: ResizeRule,
    folder: Path,
    shape: tuple[int, ...],
    *,
    progress: bool,
) -> None:
    parent = folder.parent
    parent.mkdir(parents=True, exist_ok=True)
    _sweep(parent)
    _check_room("The image cache takes", parent, int(np.prod(shape)))
    building = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=parent))
    try:
        failures, digests = _write_images(catalogue, rule, building / "images.npy", shape, progress)
        np.save(building / "digests.npy", digests, allow_pickle=False)
        (building / "failures.json").write_text(json.dumps(failures), "utf-8")
        if folder.exists() and _load(folder, shape) is None:
            # It is damaged: a complete one would have been opened.
            shutil.rmtree(folder, ignore_errors=True)
        try:
            building.rename(folder)
        except OSError:
            if not folder.exists():
                raise
            # Another process was quicker: its cache has the same key, so the same pixels.
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _check_room(what: str, folder: Path, wanted_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if wanted_bytes > free_bytes:
        raise DataError(
            f"{what} {wanted_bytes / 1e6:,.0f} MB, and {folder} has "
            f"{free_bytes / 1e6:,.0f} MB free: make room, or set SHOPWINDOW_CACHE_DIR."
        )


def _sweep(parent: Path) -> None:
    """Remove what killed builds left a day ago, and caches that were not opened for 90 days."""
    for path in parent.iterdir():
        if path.name.startswith(_BUILDING):
            kept_s = _STALE_AFTER_S
        elif re.fullmatch("[0-9a-f]{32}", path.name):
            kept_s = _UNOPENED_AFTER_S
        else:
            continue
        # A folder with any other file in it is not ours: SHOPWINDOW_CACHE_DIR may be any folder.
        # OSError: another process has just removed or renamed it.
        with suppress(OSError):
            own = all(_OWN_FILE.fullmatch(file.name) for file in path.iterdir())
            if own and time.time() - path.stat().st_mtime > kept_s:
                shutil.rmtree(path, ignore_errors=True)


def _write_images(
    catalogue: LabelledImages, rule: ResizeRule, path: Path, shape: tuple[int, ...], progress: bool
) -> tuple[dict[int, str], NDArray[np.uint64]]:
    failures: dict[int, str] = {}
    digests: list[NDArray[np.uint64]] = []
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    # Plain writes, not a memory map: on a full disk a map kills the process, a write raises.
    with (
        path.open("wb") as file,
        tqdm(total=shape[0], desc="Decoding images", unit=" images", disable=not progress) as bar,
    ):
        np.lib.format.write_array_header_1_0(file, header)
        with closing(_decode_chunks(catalogue, rule)) as chunks:  # ends the threads on any error
            for images, failed, digested in chunks:
                file.write(images.data)
                failures |= failed
                digests.append(digested)
                bar.update(len(images))
        file.flush()
        os.fsync(file.fileno())
    return failures, np.concatenate(digests) if digests else np.empty(0, np.uint64)


_Chunk = tuple[NDArray[np.uint8], dict[int, str], NDArray[np.uint64]]


def _decode_chunks(catalogue: LabelledImages, rule: ResizeRule) -> Generator[_Chunk, None, None]:
    """Yield decoded chunks in order. Pillow releases the GIL, so threads use all cores."""
    workers = (os.cpu_count() or 1) + 1
    waiting: deque[Future[_Chunk]] = deque()
    with ThreadPoolExecutor(workers, "decode") as pool:
        try:
            for start in range(0, len(catalogue), _CHUNK_IMAGES):
                indices = range(start, min(start + _CHUNK_IMAGES, len(catalogue)))
                waiting.append(pool.submit(_decode_chunk, catalogue, rule, indices))
                if len(waiting) > 2 * workers:  # bounds the memory
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _decode_chunk(catalogue: LabelledImages, rule: ResizeRule, indices: range) -> _Chunk:
    images = np.zeros((len(indices), rule.height_px, rule.width_px, 3), np.uint8)
    digests = np.zeros(len(indices), np.uint64)
    failed: dict[int, str] = {}
    for position, index in enumerate(indices):
        try:
            blob = catalogue.read_bytes(index)
            digests[position] = digest_of(blob)
            image_hwc = decode_image(blob, least_px=rule.enough_px)
            images[position] = preprocess(image_hwc, rule)
        except ImageError as error:
            failed[index] = str(error)
    return images, failed, digests
