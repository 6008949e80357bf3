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
from shopwindow.bulk.job import Engine, JobSpec, ShardResult, StartRunner
from shopwindow.bulk.local import InlineRunner, LocalRunner
from shopwindow.bulk.manifest import Shard, shard_size, write_manifest
from shopwindow.bulk.rows import header_of
from shopwindow.inference.engine import available_cores

_MAX_SPREAD = 16  # parts per worker that wait in memory for one that comes before them


@dataclass(frozen=True, slots=True)
class RunTotals:
    """How many rows were written, and how many of them say why there is no prediction."""

    rows: int
    failed: int


def start_local(workers: int | None = None) -> StartRunner:
    """Return what starts an engine on this machine; None takes a worker per core."""

    def start(job: JobSpec, shards: int) -> Engine:
        count = min(workers or available_cores(), shards)
        return InlineRunner(job) if count < 2 else LocalRunner(job, count)

    return start


def predict_to_file(
    job: JobSpec, inputs: Iterable[Input], output: Path, start_runner: StartRunner
) -> RunTotals:
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
        manifest, size = partial.begin(_counted(inputs), job)
        before = RunTotals(
            sum(done.rows for done in partial.done.values()),
            sum(done.failed for done in partial.done.values()),
        )
        if before.rows:
            _say(f"Going on: {before.rows:,} of {manifest.count:,} rows are there already.")
        left = (task for task in manifest.shards(size) if task[0].name not in partial.done)
        shards = -(-manifest.count // size) - len(partial.done)
        failed = before.failed
        with _progress(manifest.count, before.rows) as bar:
            for part in _run(job, left, shards, start_runner):
                partial.store(part, job.fmt)
                failed += part.failed
                bar.update(part.shard.size)
        partial.finish(job.fmt)
        return RunTotals(manifest.count, failed)
    finally:
        partial.close()


def predict_to_stream(
    job: JobSpec, inputs: Iterable[Input], stream: IO[bytes], start_runner: StartRunner
) -> RunTotals:
    """Predict inputs and write the rows as they come, in order.

    Raises:
        UsageError: Nothing to predict.
        BulkError: The engine had to give up.
        OSError: The stream cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="shopwindow-") as folder:
        manifest = write_manifest(_counted(inputs), Path(folder) / "inputs")
        size = shard_size(manifest.count)
        stream.write(header_of(job.fmt))
        stream.flush()
        failed = 0
        parts = _run(job, manifest.shards(size), -(-manifest.count // size), start_runner)
        # On a terminal that shows the rows themselves, a bar would only get between them.
        with _progress(manifest.count, shown=not stream.isatty()) as bar:
            for part in _in_order(parts):
                stream.write(part.content)
                stream.flush()
                failed += part.failed
                bar.update(part.shard.size)
    return RunTotals(manifest.count, failed)


def _run(
    job: JobSpec,
    tasks: Iterator[tuple[Shard, list[Input]]],
    shards: int,
    start_runner: StartRunner,
) -> Iterator[ShardResult]:
    """Yield parts as they become ready, and never run far ahead of the one that takes longest."""
    if not shards:
        return
    with contextlib.closing(start_runner(job, shards)) as engine:
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


def _in_order(parts: Iterable[ShardResult]) -> Iterator[ShardResult]:
    waiting: dict[int, ShardResult] = {}
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
