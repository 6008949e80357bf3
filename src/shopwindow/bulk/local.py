"""Runners on this machine: one process per core, each with a model of its own.

Processes rather than threads: Python runs one thread at a time, and an image that crashes a decoder
ends one worker and not the run.
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
from shopwindow.bulk.job import JobSpec, Runner, ShardPredictor, ShardResult, StartRunner
from shopwindow.bulk.manifest import Shard, Task
from shopwindow.errors import BulkError
from shopwindow.inference.engine import available_cores

MAX_DEATHS = 2  # workers that may die on one shard before the run gives up


def start_local(workers: int | None = None) -> StartRunner:
    """Return a function that starts a runner here; None takes a worker per core."""

    def start(job: JobSpec, shards: int) -> Runner:
        count = min(workers or available_cores(), shards)
        return InlineRunner(job) if count < 2 else LocalRunner(job, count)

    return start


class InlineRunner:
    """Predicts in this process: for a handful of images, another would take longer to start."""

    capacity = 1

    def __init__(self, job: JobSpec) -> None:
        self._predictor = ShardPredictor(job)
        self._tasks: list[Task] = []

    def submit(self, shard: Shard, inputs: list[Input]) -> None:
        """Take a shard."""
        self._tasks.append((shard, inputs))

    def wait(self) -> ShardResult:
        """Predict the shard, and return its result."""
        return self._predictor.predict(*self._tasks.pop())

    def close(self) -> None:
        """Do nothing: there is nothing to stop."""


class _Worker(NamedTuple):
    process: BaseProcess
    task: Task | None


class LocalRunner:
    """Predicts shards in processes of its own.

    Args:
        job: What to do.
        workers: How many processes, at least 1.
    """

    def __init__(self, job: JobSpec, workers: int) -> None:
        self.capacity = workers
        self._job = job
        self._workers: dict[Connection, _Worker] = {}
        self._deaths: Counter[Shard] = Counter()
        # Start all before sending: each takes half a second to load its packages.
        for pipe in [self._start() for _ in range(workers)]:
            pipe.send(job)

    def submit(self, shard: Shard, inputs: list[Input]) -> None:
        """Give a shard to an idle worker."""
        pipe = next(pipe for pipe, worker in self._workers.items() if worker.task is None)
        self._give(pipe, (shard, inputs))

    def wait(self) -> ShardResult:
        """Return the next finished shard.

        Raises:
            BulkError: Two workers died on the same shard.
        """
        while True:
            for pipe in cast(list[Connection], wait(list(self._workers))):
                try:
                    result: ShardResult | Exception = pipe.recv()
                except (EOFError, OSError):
                    self._replace(pipe)
                    continue
                if isinstance(result, Exception):
                    raise result
                self._workers[pipe] = self._workers[pipe]._replace(task=None)
                return result

    def close(self) -> None:
        """Kill all workers."""
        for pipe, worker in self._workers.items():
            worker.process.kill()
            worker.process.join()
            pipe.close()
        self._workers.clear()

    def _start(self) -> Connection:
        context = get_context("spawn")  # a fork would copy locks that other threads hold
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _sigint_blocked():
            process.start()
        theirs.close()  # so that we notice when the worker's end closes
        self._workers[ours] = _Worker(process, None)
        return ours

    def _give(self, pipe: Connection, task: Task) -> None:
        self._workers[pipe] = self._workers[pipe]._replace(task=task)
        with contextlib.suppress(OSError):  # `wait` notices a dead worker
            pipe.send(task)

    def _replace(self, pipe: Connection) -> None:
        """Start a new worker in place of a dead one, and give it the same shard."""
        worker = self._workers.pop(pipe)
        worker.process.join()
        pipe.close()
        if worker.task is not None:
            shard = worker.task[0]
            self._deaths[shard] += 1
            if self._deaths[shard] >= MAX_DEATHS:
                raise BulkError(
                    f"Two worker processes died on inputs {shard.first + 1:,} to "
                    f"{shard.first + shard.size:,} (exit code {worker.process.exitcode}); the "
                    "machine may be short of memory. Run the same command again to continue; "
                    "--workers 1 needs less memory."
                )
        new = self._start()
        new.send(self._job)
        if worker.task is not None:
            self._give(new, worker.task)


def _serve(pipe: Connection) -> None:
    """Predict the shards that arrive, in a worker process, until the pipe is closed."""
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    predictor = None
    with contextlib.suppress(EOFError, OSError):  # the other end is closed
        while True:
            message = pipe.recv()
            try:
                if predictor is None:  # the first message is the job
                    predictor = ShardPredictor(message)
                else:
                    pipe.send(predictor.predict(*message))
            except Exception as error:
                pipe.send(error)


def _exit_with_parent() -> None:
    # A killed parent cannot say so, and a worker that carries on slows down the next run.
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextlib.contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Start processes that ignore Ctrl-C, which a terminal sends to all of them: we end them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
