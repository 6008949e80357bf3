"""One bulk run: list the inputs, have a runner predict them shard by shard, write each row once."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tqdm import tqdm

from shopwindow.bulk.inputs import Input
from shopwindow.bulk.job import JobSpec, ShardResult, StartRunner
from shopwindow.bulk.manifest import Task, shard_size, write_manifest
from shopwindow.bulk.partial_output import PartialOutput
from shopwindow.bulk.rows import header_of

_MAX_SPREAD = 16  # results per worker that may wait in memory for an earlier shard


@dataclass(frozen=True, slots=True)
class RunTotals:
    """How many rows were written, and how many of them have an error instead of a prediction."""

    rows: int
    failed: int


def predict_to_file(
    job: JobSpec, inputs: Iterable[Input], output: Path, start_runner: StartRunner
) -> RunTotals:
    """Predict inputs into a file, which appears when it is complete.

    A run that was stopped continues where it left off; `bulk.partial_output` says how. More than a
    million rows of Parquet become a folder of parts.

    Raises:
        UsageError: Nothing to predict, `output` cannot be written, or another run is writing it.
        BulkError: The run had to stop.
        OSError: The disk is full.
    """
    with contextlib.closing(PartialOutput(output)) as partial:
        manifest, size = partial.begin(_with_bar(inputs), job)
        rows = sum(record.rows for record in partial.finished.values())
        failed = sum(record.failed for record in partial.finished.values())
        if rows:
            print(
                f"Resuming: {rows:,} of {manifest.count:,} rows are already written.",
                file=sys.stderr,
            )
        tasks = (task for task in manifest.shards(size) if task[0].name not in partial.finished)
        shards = -(-manifest.count // size) - len(partial.finished)
        with _progress(manifest.count, rows) as bar:
            for result in _run(job, tasks, shards, start_runner):
                partial.store(result, job.fmt)
                failed += result.failed
                bar.update(result.shard.size)
        partial.finish(job.fmt)
        return RunTotals(manifest.count, failed)


def predict_to_stream(
    job: JobSpec, inputs: Iterable[Input], stream: IO[bytes], start_runner: StartRunner
) -> RunTotals:
    """Predict inputs, and write the rows in order as soon as they are ready.

    Raises:
        UsageError: Nothing to predict.
        BulkError: The run had to stop.
        OSError: The stream cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="shopwindow-") as folder:
        manifest = write_manifest(_with_bar(inputs), Path(folder) / "inputs")
        size = shard_size(manifest.count)
        stream.write(header_of(job.fmt))
        stream.flush()
        failed = 0
        results = _run(job, manifest.shards(size), -(-manifest.count // size), start_runner)
        # A terminal that shows the rows themselves needs no bar between them.
        with _progress(manifest.count, shown=not stream.isatty()) as bar:
            for result in _in_order(results):
                stream.write(result.content)
                stream.flush()
                failed += result.failed
                bar.update(result.shard.size)
    return RunTotals(manifest.count, failed)


def _run(
    job: JobSpec, tasks: Iterator[Task], shards: int, start_runner: StartRunner
) -> Iterator[ShardResult]:
    """Yield results as they become ready, never running far ahead of the slowest shard."""
    if not shards:
        return
    with contextlib.closing(start_runner(job, shards)) as runner:
        running: set[int] = set()  # the numbers of shards
        task = next(tasks, None)
        while task is not None or running:
            while (
                task is not None
                and len(running) < runner.capacity
                and task[0].number - min(running, default=task[0].number)
                < _MAX_SPREAD * runner.capacity
            ):
                runner.submit(*task)
                running.add(task[0].number)
                task = next(tasks, None)
            result = runner.wait()
            running.remove(result.shard.number)
            yield result


def _in_order(results: Iterable[ShardResult]) -> Iterator[ShardResult]:
    waiting: dict[int, ShardResult] = {}
    following = 0
    for result in results:
        waiting[result.shard.number] = result
        while following in waiting:
            yield waiting.pop(following)
            following += 1


def _with_bar(inputs: Iterable[Input]) -> Iterable[Input]:
    # disable=None: no bar where stderr is not a terminal.
    bar: Iterable[Input] = tqdm(
        inputs, desc="Listing", unit=" inputs", disable=None, leave=False, delay=1
    )
    return bar


def _progress(count: int, before: int = 0, *, shown: bool = True) -> tqdm:
    return tqdm(total=count, initial=before, unit=" images", disable=None if shown else True)
