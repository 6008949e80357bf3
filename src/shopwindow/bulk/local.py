"""The engine on this machine: one process per core, each with a model of its own.

Processes rather than threads: Python runs one thread at a time, and an image that brings a decoder
down takes one worker with it and not the run.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import NamedTuple, cast

from shopwindow.bulk.inputs import Input
from shopwindow.bulk.job import JobSpec, ShardPredictor, ShardResult
from shopwindow.bulk.manifest import Shard
from shopwindow.errors import BulkError

MAX_DEATHS = 2  # of workers on one shard, before it is the shard's fault


class InlineRunner:
    """The engine for a handful of images: this very process, which need not start another."""

    capacity = 1

    def __init__(self, job: JobSpec) -> None:
        self._predictor = ShardPredictor(job)
        self._waiting: list[tuple[Shard, list[Input]]] = []

    def submit(self, shard: Shard, inputs: list[Input]) -> None:
        """Take a shard."""
        self._waiting.append((shard, inputs))

    def wait(self) -> ShardResult:
        """Predict the shard, and return it."""
        return self._predictor.predict(*self._waiting.pop())

    def close(self) -> None:
        """Do nothing: there is nothing to stop."""


class _Worker(NamedTuple):
    process: BaseProcess
    task: tuple[Shard, list[Input]] | None


class LocalRunner:
    """Predicts shards in processes of its own.

    Args:
        work: What to do.
        workers: How many processes, at least 1.
    """

    def __init__(self, job: JobSpec, workers: int) -> None:
        self.capacity = workers
        self._job = job
        self._workers: dict[Connection, _Worker] = {}
        self._deaths: Counter[Shard] = Counter()
        # All start before the first is talked to: each takes half a second to load its packages.
        for pipe in [self._start() for _ in range(workers)]:
            pipe.send(job)

    def submit(self, shard: Shard, inputs: list[Input]) -> None:
        """Give a shard to a worker that has none."""
        pipe = next(pipe for pipe, worker in self._workers.items() if worker.task is None)
        self._give(pipe, (shard, inputs))

    def wait(self) -> ShardResult:
        """Return the next part that is ready.

        Raises:
            BulkError: Two workers died at the same shard.
        """
        while True:
            for pipe in cast(list[Connection], wait(list(self._workers))):
                try:
                    answer = pipe.recv()
                except (EOFError, OSError):
                    self._replace(pipe)
                    continue
                if isinstance(answer, Exception):
                    raise answer
                self._workers[pipe] = self._workers[pipe]._replace(task=None)
                part: ShardResult = answer
                return part

    def close(self) -> None:
        """End all workers at once."""
        for pipe, worker in self._workers.items():
            worker.process.kill()
            worker.process.join()
            pipe.close()
        self._workers.clear()

    def _start(self) -> Connection:
        context = get_context("spawn")  # a fork would copy locks that other threads hold
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _ctrl_c_held_back():
            process.start()
        theirs.close()  # so that its end is noticed
        self._workers[ours] = _Worker(process, None)
        return ours

    def _give(self, pipe: Connection, task: tuple[Shard, list[Input]]) -> None:
        self._workers[pipe] = self._workers[pipe]._replace(task=task)
        with contextlib.suppress(OSError):  # `wait` notices that it died
            pipe.send(task)

    def _replace(self, pipe: Connection) -> None:
        """Start a worker in the place of one that died, and give it the same shard."""
        worker = self._workers.pop(pipe)
        worker.process.join()
        pipe.close()
        if worker.task is not None:
            shard = worker.task[0]
            self._deaths[shard] += 1
            if self._deaths[shard] >= MAX_DEATHS:
                raise BulkError(
                    f"Two worker processes died at the inputs {shard.first + 1:,} to "
                    f"{shard.first + shard.size:,} (exit code {worker.process.exitcode}): there "
                    "may be too little memory. The same command goes on, with --workers 1 in less."
                )
        new = self._start()
        new.send(self._job)
        if worker.task is not None:
            self._give(new, worker.task)


def _serve(pipe: Connection) -> None:
    """Predict what comes through the pipe, until it is closed."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    predictor = None
    with contextlib.suppress(EOFError, OSError):  # the other end is closed
        while True:
            message = pipe.recv()
            answer: ShardResult | Exception | None = None
            try:
                if predictor is None:
                    predictor = ShardPredictor(message)
                else:
                    answer = predictor.predict(*message)
            except Exception as error:
                answer = error
            if answer is not None:
                pipe.send(answer)


def _end_with_parent() -> None:
    # A parent that is killed cannot say so, and a worker that works on slows down the next run.
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextlib.contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """Start processes that never see a Ctrl-C, which a terminal sends to all: we end them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
