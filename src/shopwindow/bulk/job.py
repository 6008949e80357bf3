"""What a bulk run asks for each shard and gets back, and what can run shards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from shopwindow.bulk.inputs import Input
from shopwindow.bulk.manifest import Shard
from shopwindow.bulk.pipeline import TableCells, predict_inputs
from shopwindow.bulk.rows import RowFormat, encode_rows
from shopwindow.bundle import Bundle
from shopwindow.inference.engine import ChosenEngine
from shopwindow.inference.predictor import Predictor


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What is the same for all shards of a run; it travels to other processes and machines."""

    bundle: Bundle
    fmt: RowFormat
    engine: ChosenEngine  # chosen once: all machines use the same
    top: int = 5
    embeddings: bool = False


class ShardResult(NamedTuple):
    """A predicted shard: its rows as they will be written, and how many are errors."""

    shard: Shard
    content: bytes
    failed: int


class ShardPredictor:
    """Predicts one shard after another on one core.

    A core per predictor, rather than all cores for one run of the model: no core waits for another,
    and the predictions do not depend on how many there are.
    """

    def __init__(self, job: JobSpec) -> None:
        self._job = job
        self._predictor = Predictor(job.bundle, threads=1, engine=job.engine)
        self._cells = TableCells()
        self.engine_name = self._predictor.engine_name

    def predict(self, shard: Shard, inputs: list[Input]) -> ShardResult:
        """Return the rows of one shard."""
        job = self._job
        rows = list(
            predict_inputs(
                self._predictor, inputs, top=job.top, cells=self._cells, embed=job.embeddings
            )
        )
        failed = sum(row.error is not None for row in rows)
        width = job.bundle.info.embedding if job.embeddings else 0
        return ShardResult(shard, encode_rows(rows, job.fmt, embedding=width), failed)


class Runner(Protocol):
    """Runs shards: in this process, in several, or on a cluster."""

    @property
    def capacity(self) -> int:
        """How many shards it can work on at a time."""

    def submit(self, shard: Shard, inputs: list[Input]) -> None:
        """Start a shard. The caller submits at most `capacity` at a time."""

    def wait(self) -> ShardResult:
        """Return the next finished shard, in any order.

        Raises:
            BulkError: A shard cannot be predicted.
        """

    def close(self) -> None:
        """Stop at once, and abandon unfinished shards."""


StartRunner = Callable[[JobSpec, int], Runner]  # of a job with so many shards
