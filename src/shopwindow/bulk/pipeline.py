"""Inputs -> rows, in order and in bounded memory: read, decode ahead of the model, predict."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shopwindow.bulk.inputs import Input, open_parquet_at
from shopwindow.bulk.remote import is_url, read_url
from shopwindow.bulk.rows import Row
from shopwindow.errors import ImageError, OversizedImageError, UsageError
from shopwindow.inference.predictor import Predictor

MAX_FILE_BYTES = 200_000_000
_TOO_LARGE = f"This file is larger than {MAX_FILE_BYTES // 10**6} MB: send a smaller version."
# Per model, on one core. Files hardly wait; a store answers 30 requests as fast as one.
_FILE_READERS = 2
_URL_READERS = 32

Prepared = NDArray[np.uint8] | str  # pixels for the model, or why there are none


def predict_inputs(
    predictor: Predictor,
    inputs: Iterable[Input],
    *,
    top: int = 5,
    batch_size: int = 64,
    cells: TableCells | None = None,
    embed: bool = False,
) -> Iterator[Row]:
    """Yield one row for each input, in order, even if it cannot be read.

    Threads read and decode up to two batches ahead while the model works on one; no more than that
    is ever in memory.

    Args:
        predictor: The model.
        inputs: Images of at most 200 MB each.
        top: How many labels to list; more than there are means all.
        batch_size: Images in one run of the model.
        cells: The open table of images of the last call, so that this one continues in it.
        embed: Whether predictions carry their embedding, where the bundle can.

    Raises:
        ValueError: `top` or `batch_size` is below 1.
    """
    if top < 1 or batch_size < 1:
        raise ValueError(f"top and batch_size: expected at least 1, got {top} and {batch_size}")
    return _predict(predictor, inputs, top, batch_size, cells or TableCells(), embed)


def read_input(item: Input, cells: TableCells | None = None) -> bytes:
    """Return the content of one input.

    Raises:
        ImageError: It is missing, unreadable or too large; the message goes into its row.
    """
    try:
        if item.row >= 0:
            content = (cells or TableCells()).read(item)
        elif is_url(item.path):
            content = read_url(item.path, MAX_FILE_BYTES + 1)
        else:
            content = _read_file(item.path)
    except FileNotFoundError as error:
        raise ImageError("There is no such file.") from error
    except OSError as error:
        raise ImageError(f"This file cannot be read: {error.strerror or error}.") from error
    except ImageError:
        raise
    except UsageError as error:
        raise ImageError(str(error)) from error
    except Exception as error:
        if not is_url(item.path):
            raise
        # Each kind of store has its own errors for a server that does not answer.
        raise ImageError(f"This URL cannot be read: {error}.") from error
    if len(content) > MAX_FILE_BYTES:
        raise OversizedImageError(_TOO_LARGE)
    return content


class TableCells:
    """Image bytes in Parquet files, read forwards.

    One row group may hold all images, so it is read as a stream: a later row is reached by reading
    on, an earlier one by starting again. Not thread-safe.

    Args:
        retry_s: Seconds after which a file that could not be opened is tried again, rather than
            for each of its rows.
    """

    def __init__(self, *, retry_s: float = 5.0) -> None:
        self._retry_s = retry_s
        self._try_again_s = math.inf
        self._place = ("", "")
        self._cells: Iterator[Any] = iter(())
        self._next_row = 0
        self._problem = ""

    def read(self, item: Input) -> bytes:
        """Return the bytes of one cell.

        Raises:
            ImageError: The cell is empty, or the file has changed since it was listed.
        """
        import pyarrow

        cell = None
        try:
            place = (item.path, item.column)
            again = time.monotonic() >= self._try_again_s
            if place != self._place or item.row < self._next_row or again:
                self._open(place, item)
            while self._next_row <= item.row:
                self._next_row += 1
                cell = next(self._cells, None)
        except (pyarrow.ArrowException, OSError) as error:
            self._cells, self._problem = iter(()), f"The Parquet file is damaged: {error}."
        value = None if cell is None else cell.as_py()
        content = value.get("bytes") if isinstance(value, dict) else value
        if content is None:
            raise ImageError(self._problem or "The cell is empty: expected the bytes of an image.")
        return bytes(content)

    def _open(self, place: tuple[str, str], item: Input) -> None:
        # First, so that the cells of the last table are not taken for this one's.
        self._place, self._cells, self._next_row = place, iter(()), item.row
        try:
            self._cells, self._next_row = self._from_group_of(item)
        except Exception as error:
            self._problem, self._try_again_s = str(error), time.monotonic() + self._retry_s
            raise
        self._problem, self._try_again_s = "", math.inf

    def _from_group_of(self, item: Input) -> tuple[Iterator[Any], int]:
        """Return the cells from the start of the item's row group, and the row of the first."""
        file = open_parquet_at(item.path)
        first = 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if item.row < first + rows:
                groups = list(range(group, file.num_row_groups))
                batches = file.iter_batches(16, row_groups=groups, columns=[item.column])
                return (cell for batch in batches for cell in batch.column(0)), first
            first += rows
        return iter(()), item.row


def _predict(
    predictor: Predictor,
    inputs: Iterable[Input],
    top: int,
    batch_size: int,
    cells: TableCells,
    embed: bool,
) -> Iterator[Row]:
    inputs = iter(inputs)
    first = list(islice(inputs, batch_size))
    readers = _URL_READERS if any(is_url(item.path) for item in first) else _FILE_READERS
    pool = ThreadPoolExecutor(readers, thread_name_prefix="decode")
    ahead: deque[tuple[Input, Future[Prepared]]] = deque()

    def read_ahead(more: Iterable[Input]) -> None:
        for item in more:
            if item.row >= 0:  # a table is read forwards, by this thread; others decode
                ahead.append((item, pool.submit(_decode, predictor, _read(item, cells))))
            else:
                ahead.append((item, pool.submit(_prepare, predictor, item)))

    try:
        read_ahead(first)
        while True:
            read_ahead(islice(inputs, 2 * batch_size - len(ahead)))
            if not ahead:
                return
            batch = [ahead.popleft() for _ in range(min(batch_size, len(ahead)))]
            yield from _predict_batch(
                predictor, [(item, future.result()) for item, future in batch], top, embed
            )
    finally:  # also when the caller stops early, or Ctrl-C is pressed
        pool.shutdown(wait=True, cancel_futures=True)


def _predict_batch(
    predictor: Predictor, batch: list[tuple[Input, Prepared]], top: int, embed: bool
) -> Iterator[Row]:
    images = [prepared for _, prepared in batch if not isinstance(prepared, str)]
    predictions = iter(
        predictor.predict_images(np.stack(images), top=top, embed=embed) if images else []
    )
    for item, prepared in batch:
        if isinstance(prepared, str):
            yield Row(str(item), error=prepared)
        else:
            yield Row(str(item), prediction=next(predictions))


def _prepare(predictor: Predictor, item: Input) -> Prepared:
    return _decode(predictor, _read(item))


def _read(item: Input, cells: TableCells | None = None) -> bytes | str:
    """Return the content of one input, or why there is none."""
    try:
        return read_input(item, cells)
    except ImageError as error:
        return str(error)


def _decode(predictor: Predictor, content: bytes | str) -> Prepared:
    if isinstance(content, str):
        return content
    try:
        return predictor.prepare(content)
    except ImageError as error:
        return str(error)


def _read_file(name: str) -> bytes:
    if not name:
        raise ImageError("The cell is empty: expected the path of an image.")
    path = Path(name)
    try:
        if path.is_dir():
            os.scandir(path).close()  # an unreadable folder fails here, with its own reason
            raise ImageError("This is a folder: expected an image file.")
        if path.exists() and not path.is_file():  # reading a pipe or a device may never end
            raise ImageError("This is not a regular file: expected an image file.")
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size > MAX_FILE_BYTES:
                raise OversizedImageError(_TOO_LARGE)
            return file.read(MAX_FILE_BYTES + 1)
    except ValueError as error:  # a NUL byte in the name
        raise ImageError("This is not a valid file name.") from error
