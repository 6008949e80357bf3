"""Inputs -> rows, in order and in bounded memory: decoding runs ahead of the model."""

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
# For one model on one core. Files need little waiting; a store answers 30 questions as fast as one.
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
) -> Iterator[Row]:
    """Yield one row for each input, in order, also for one that cannot be read.

    Threads read and decode up to two batches ahead while the model works on one; no more than that
    is ever in memory.

    Args:
        predictor: Answers the questions.
        inputs: Images of at most 200 MB each.
        top: How many labels to list; more than there are means all.
        batch_size: Images in one run of the model.
        cells: Where the last call stopped in a table of images, so that the next need not begin
            again.

    Raises:
        ValueError: `top` or `batch_size` is below 1.
    """
    if top < 1 or batch_size < 1:
        raise ValueError(f"top and batch_size: expected at least 1, got {top} and {batch_size}")
    return _predict(predictor, inputs, top, batch_size, cells or TableCells())


def read_input(one: Input, cells: TableCells | None = None) -> bytes:
    """Return the content of one input.

    Raises:
        ImageError: There is none, or too much; the message is one for its row.
    """
    try:
        if one.row >= 0:
            content = (cells or TableCells()).read(one)
        elif is_url(one.path):
            content = read_url(one.path, MAX_FILE_BYTES + 1)
        else:
            content = _read_file(one.path)
    except FileNotFoundError as error:
        raise ImageError("There is no such file.") from error
    except OSError as error:
        raise ImageError(f"This file cannot be read: {error.strerror or error}.") from error
    except ImageError:
        raise
    except UsageError as error:
        raise ImageError(str(error)) from error
    except Exception as error:
        if not is_url(one.path):
            raise
        # Each kind of store has its own errors for a server that does not answer.
        raise ImageError(f"This URL cannot be read: {error}.") from error
    if len(content) > MAX_FILE_BYTES:
        raise OversizedImageError(_TOO_LARGE)
    return content


class TableCells:
    """Image bytes in Parquet files, read forwards.

    One row group may hold all images, so it is read as a stream: a row further on is reached by
    reading on, one further back by beginning again. Not thread-safe.

    Args:
        retry_s: A file that could not be opened is tried again after so many seconds, and not for
            each of its rows.
    """

    def __init__(self, *, retry_s: float = 5.0) -> None:
        self._retry_s = retry_s
        self._try_again_s = math.inf
        self._place = ("", "")
        self._cells: Iterator[Any] = iter(())
        self._next_row = 0
        self._problem = ""

    def read(self, one: Input) -> bytes:
        """Return the bytes of one cell.

        Raises:
            ImageError: The cell is empty, or the file is not what it was when it was listed.
        """
        import pyarrow

        cell = None
        try:
            place = (one.path, one.column)
            again = time.monotonic() >= self._try_again_s
            if place != self._place or one.row < self._next_row or again:
                self._open(place, one)
            while self._next_row <= one.row:
                self._next_row += 1
                cell = next(self._cells, None)
        except (pyarrow.ArrowException, OSError) as error:
            self._cells, self._problem = iter(()), f"The Parquet file is damaged: {error}."
        value = None if cell is None else cell.as_py()
        content = value.get("bytes") if isinstance(value, dict) else value
        if content is None:
            raise ImageError(self._problem or "The cell is empty: expected the bytes of an image.")
        return bytes(content)

    def _open(self, place: tuple[str, str], one: Input) -> None:
        # First of all, so that the cells of another table are not taken for this one's.
        self._place, self._cells, self._next_row = place, iter(()), one.row
        try:
            self._cells, self._next_row = self._from_group_of(one)
        except Exception as error:
            self._problem, self._try_again_s = str(error), time.monotonic() + self._retry_s
            raise
        self._problem, self._try_again_s = "", math.inf

    def _from_group_of(self, one: Input) -> tuple[Iterator[Any], int]:
        """Return the cells from the beginning of the row group on, and the number of the first."""
        file = open_parquet_at(one.path)
        first = 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if one.row < first + rows:
                groups = list(range(group, file.num_row_groups))
                batches = file.iter_batches(16, row_groups=groups, columns=[one.column])
                return (cell for batch in batches for cell in batch.column(0)), first
            first += rows
        return iter(()), one.row


def _predict(
    predictor: Predictor, inputs: Iterable[Input], top: int, batch_size: int, cells: TableCells
) -> Iterator[Row]:
    waiting = iter(inputs)
    first = list(islice(waiting, batch_size))
    readers = _URL_READERS if any(is_url(one.path) for one in first) else _FILE_READERS
    pool = ThreadPoolExecutor(readers, thread_name_prefix="decode")
    ahead: deque[tuple[Input, Future[Prepared]]] = deque()

    def read_on(more: Iterable[Input]) -> None:
        for one in more:
            if one.row >= 0:  # a table is read forwards, by one; only decoding has company
                ahead.append((one, pool.submit(_prepare_cell, predictor, *_cell(one, cells))))
            else:
                ahead.append((one, pool.submit(_prepare, predictor, one)))

    try:
        read_on(first)
        while True:
            read_on(islice(waiting, 2 * batch_size - len(ahead)))
            if not ahead:
                return
            batch = [ahead.popleft() for _ in range(min(batch_size, len(ahead)))]
            yield from _predict_batch(
                predictor, [(one, future.result()) for one, future in batch], top
            )
    finally:  # also when the caller stops early, or Ctrl-C is pressed
        pool.shutdown(wait=True, cancel_futures=True)


def _predict_batch(
    predictor: Predictor, batch: list[tuple[Input, Prepared]], top: int
) -> Iterator[Row]:
    images = [prepared for _, prepared in batch if not isinstance(prepared, str)]
    predictions = iter(predictor.predict_images(np.stack(images), top=top) if images else [])
    for one, prepared in batch:
        if isinstance(prepared, str):
            yield Row(str(one), error=prepared)
        else:
            yield Row(str(one), prediction=next(predictions))


def _prepare(predictor: Predictor, one: Input) -> Prepared:
    try:
        return predictor.prepare(read_input(one))
    except ImageError as error:
        return str(error)


def _cell(one: Input, cells: TableCells) -> tuple[bytes, str]:
    """Return the content and "", or nothing and why."""
    try:
        return read_input(one, cells), ""
    except ImageError as error:
        return b"", str(error)


def _prepare_cell(predictor: Predictor, content: bytes, problem: str) -> Prepared:
    try:
        return problem or predictor.prepare(content)
    except ImageError as error:
        return str(error)


def _read_file(name: str) -> bytes:
    if not name:
        raise ImageError("The cell is empty: expected the path of an image.")
    path = Path(name)
    try:
        if path.is_dir():
            os.scandir(path).close()  # where it may not be read, that is the reason
            raise ImageError("This is a folder: expected an image file.")
        if path.exists() and not path.is_file():  # reading a pipe or a device may never end
            raise ImageError("This is not a regular file: expected an image file.")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_FILE_BYTES:
                raise OversizedImageError(_TOO_LARGE)
            return file.read(MAX_FILE_BYTES + 1)
    except ValueError as error:  # a NUL byte in the name
        raise ImageError("This is not the name of a file.") from error
