"""One bulk run: list inputs, have an engine predict them shard by shard, write every row once."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tqdm import tqdm

from shopwindow.bulk.folder import PartialOutput
from shopwindow.bulk.inputs import Input
from shopwindow.bulk.local import InlineEngine, LocalEngine
from shopwindow.bulk.rows import header_of
from shopwindow.bulk.spool import Shard, shard_size, write_spool
from shopwindow.bulk.work import Engine, Part, StartEngine, Work
from shopwindow.inference.engine import available_cores

_MAX_SPREAD = 16  # parts per worker that wait in memory for one that comes before them


@dataclass(frozen=True, slots=True)
class Written:
    """How many rows were written, and how many of them say why there is no prediction."""

    rows: int
    failed: int


def start_local(workers: int | None = None) -> StartEngine:
    """Return what starts an engine on this machine; None takes a worker per core."""

    def start(work: Work, shards: int) -> Engine:
        count = min(workers or available_cores(), shards)
        return InlineEngine(work) if count < 2 else LocalEngine(work, count)

    return start


def predict_to_file(
    work: Work, inputs: Iterable[Input], output: Path, start_engine: StartEngine
) -> Written:
    """Predict inputs into a file that appears when it is complete.

    A run that was stopped, however, is taken up where it stopped: `bulk.folder` tells how. The
    output is a folder where it is Parquet of more than a million rows.

    Raises:
        UsageError: Nothing to predict, a place that cannot be written to, or another run's.
        BulkError: The engine had to give up.
        OSError: The disk is full.
    """
    partial = PartialOutput(output)
    try:
        spool, size = partial.begin(_counted(inputs), work)
        before = Written(
            sum(done.rows for done in partial.done.values()),
            sum(done.failed for done in partial.done.values()),
        )
        if before.rows:
            _say(f"Going on: {before.rows:,} of {spool.count:,} rows are there already.")
        left = (task for task in spool.shards(size) if task[0].name not in partial.done)
        shards = -(-spool.count // size) - len(partial.done)
        failed = before.failed
        with _progress(spool.count, before.rows) as bar:
            for part in _run(work, left, shards, start_engine):
                partial.store(part, work.fmt)
                failed += part.failed
                bar.update(part.shard.size)
        partial.finish(work.fmt)
        return Written(spool.count, failed)
    finally:
        partial.close()


def predict_to_stream(
    work: Work, inputs: Iterable[Input], stream: IO[bytes], start_engine: StartEngine
) -> Written:
    """Predict inputs and write the rows as they come, in order.

    Raises:
        UsageError: Nothing to predict.
        BulkError: The engine had to give up.
        OSError: The stream cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="shopwindow-") as folder:
        spool = write_spool(_counted(inputs), Path(folder) / "inputs")
        size = shard_size(spool.count)
        stream.write(header_of(work.fmt))
        stream.flush()
        failed = 0
        parts = _run(work, spool.shards(size), -(-spool.count // size), start_engine)
        # On a terminal that shows the rows themselves, a bar would only get between them.
        with _progress(spool.count, shown=not stream.isatty()) as bar:
            for part in _in_order(parts):
                stream.write(part.content)
                stream.flush()
                failed += part.failed
                bar.update(part.shard.size)
    return Written(spool.count, failed)


def _run(
    work: Work,
    tasks: Iterator[tuple[Shard, list[Input]]],
    shards: int,
    start_engine: StartEngine,
) -> Iterator[Part]:
    """Yield parts as they become ready, and never run far ahead of the one that takes longest."""
    if not shards:
        return
    with contextlib.closing(start_engine(work, shards)) as engine:
        under_way: set[int] = set()
        task = next(tasks, None)
        while task is not None or under_way:
            while (
                task is not None
                and len(under_way) < engine.capacity
                and task[0].number - min(under_way, default=task[0].number)
                < _MAX_SPREAD * engine.capacity
            ):
                engine.submit(*task)
                under_way.add(task[0].number)
                task = next(tasks, None)
            part = engine.wait()
            under_way.remove(part.shard.number)
            yield part


def _in_order(parts: Iterable[Part]) -> Iterator[Part]:
    waiting: dict[int, Part] = {}
    following = 0
    for part in parts:
        waiting[part.shard.number] = part
        while following in waiting:
            yield waiting.pop(following)
            following += 1


def _counted(inputs: Iterable[Input]) -> Iterable[Input]:
    # disable=None: no bar where stderr is not a terminal.
    counted: Iterable[Input] = tqdm(
        inputs, desc="Listing", unit=" inputs", disable=None, leave=False, delay=1
    )
    return counted


def _progress(count: int, before: int = 0, *, shown: bool = True) -> tqdm:
    return tqdm(total=count, initial=before, unit=" images", disable=None if shown else True)


def _say(message: str) -> None:
    print(message, file=sys.stderr)
