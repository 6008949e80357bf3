"""Predict any number of files in bounded memory: decoding runs ahead of the model."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shopwindow.errors import ImageError, OversizedImageError, UsageError
from shopwindow.imaging.suffixes import IMAGE_SUFFIXES
from shopwindow.inference.predictor import Predictor
from shopwindow.inference.rows import Row, RowFormat, Written, write_rows

__all__ = ["Row", "RowFormat", "Written", "list_inputs", "predict_files", "write_rows"]

MAX_FILE_BYTES = 200_000_000
MAX_DECODERS = 4  # one core runs the model; more files in memory at a time gain little


def list_inputs(paths: Sequence[Path]) -> list[Path]:
    """Return the files to predict, in order: files as given, folders walked in name order.

    Hidden files and folders are passed over, links to folders are not followed. A path that does
    not exist stays in the list, and gets a row that says so.

    Raises:
        UsageError: There is nothing to predict, or a folder cannot be read.
    """
    inputs: list[Path] = []
    for path in paths:
        inputs += _walk(path) if path.is_dir() else [path]
    if not inputs:
        folders = ", ".join(map(str, paths)) or "no path"
        raise UsageError(
            f"No images found in {folders}: expected files ending in "
            f"{', '.join(sorted(IMAGE_SUFFIXES))}."
        )
    return inputs


def predict_files(
    predictor: Predictor, inputs: Sequence[Path], *, top: int = 5, batch_size: int = 64
) -> Iterator[Row]:
    """Yield one row for each input, in order, also for one that cannot be read.

    Threads read and decode up to two batches ahead while the model works on one; no more than that
    is ever in memory. The iterator knows how many rows are to come (`operator.length_hint`).

    Args:
        predictor: Answers the questions.
        inputs: Image files of at most 200 MB each.
        top: How many labels to list; more than there are means all.
        batch_size: Images in one run of the model.

    Raises:
        ValueError: `top` or `batch_size` is below 1.
    """
    if top < 1 or batch_size < 1:
        raise ValueError(f"top and batch_size: expected at least 1, got {top} and {batch_size}")
    return _CountedRows(_predict(predictor, inputs, top, batch_size), len(inputs))


class _CountedRows(Iterator[Row]):
    """A generator that can say how many rows are left."""

    def __init__(self, rows: Iterator[Row], count: int) -> None:
        self._rows = rows
        self._left = count

    def __next__(self) -> Row:
        row = next(self._rows)
        self._left -= 1
        return row

    def __length_hint__(self) -> int:
        return self._left


def _predict(
    predictor: Predictor, inputs: Sequence[Path], top: int, batch_size: int
) -> Iterator[Row]:
    decoders = min(MAX_DECODERS, os.cpu_count() or 1)
    pool = ThreadPoolExecutor(decoders, thread_name_prefix="decode")
    try:
        waiting = iter(inputs)
        ahead: deque[tuple[Path, Future[NDArray[np.uint8] | str]]] = deque()
        while True:
            for path in islice(waiting, 2 * batch_size - len(ahead)):
                ahead.append((path, pool.submit(_prepare, predictor, path)))
            if not ahead:
                return
            batch = [ahead.popleft() for _ in range(min(batch_size, len(ahead)))]
            yield from _predict_batch(
                predictor, [(path, future.result()) for path, future in batch], top
            )
    finally:  # also when the caller stops early, or Ctrl-C is pressed
        pool.shutdown(wait=True, cancel_futures=True)


def _predict_batch(
    predictor: Predictor, batch: list[tuple[Path, NDArray[np.uint8] | str]], top: int
) -> Iterator[Row]:
    images = [prepared for _, prepared in batch if not isinstance(prepared, str)]
    predictions = iter(predictor.predict_images(np.stack(images), top=top) if images else [])
    for path, prepared in batch:
        if isinstance(prepared, str):
            yield Row(path, error=prepared)
        else:
            yield Row(path, prediction=next(predictions))


def _prepare(predictor: Predictor, path: Path) -> NDArray[np.uint8] | str:
    """Return the pixels for the model, or why there are none."""
    try:
        return predictor.prepare(_read(path))
    except ImageError as error:
        return str(error)
    except FileNotFoundError:
        return "There is no such file."
    except OSError as error:
        return f"This file cannot be read: {error.strerror}."


def _read(path: Path) -> bytes:
    if path.exists() and not path.is_file():  # reading a pipe or a device may never end
        raise ImageError("This is not a regular file: expected an image file.")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        data = b"" if size > MAX_FILE_BYTES else file.read(MAX_FILE_BYTES + 1)
    if max(size, len(data)) > MAX_FILE_BYTES:
        raise OversizedImageError(
            f"This file is larger than {MAX_FILE_BYTES // 10**6} MB: send a smaller version."
        )
    return data


def _walk(folder: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise UsageError(f"Cannot read the folder {error.filename}: {error.strerror}.")

    found: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(place, name)
            for name in sorted(names)
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES
        ]
    return found
