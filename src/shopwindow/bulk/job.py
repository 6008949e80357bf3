"""What an engine gets to do, and what it gives back; what an engine is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from shopwindow.bulk.inputs import Input
from shopwindow.bulk.manifest import Shard
from shopwindow.bulk.rows import RowFormat, encode_rows
from shopwindow.bulk.stream import TableCells, predict_inputs
from shopwindow.bundle import Bundle
from shopwindow.inference.engine import ChosenEngine
from shopwindow.inference.predictor import Predictor


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What is the same for all shards of a run; it travels to other processes and machines."""

    bundle: Bundle
    fmt: RowFormat
    engine: ChosenEngine  # one for all machines: none of them chooses
    top: int = 5


class ShardResult(NamedTuple):
    """A shard that was predicted: its rows as they will be written, and how many are errors."""

    shard: Shard
    content: bytes
    failed: int


class ShardPredictor:
    """Predicts one shard after the other on one core.

    One core each, instead of all of them for one run of the model: nothing waits for anything, and
    the answers do not depend on the number of cores.
    """

    def __init__(self, job: JobSpec) -> None:
        self._job = job
        self._predictor = Predictor(job.bundle, threads=1, engine=job.engine)
        self._cells = TableCells()
        self.engine_name = self._predictor.engine_name

    def predict(self, shard: Shard, inputs: list[Input]) -> ShardResult:
        """Return the rows of one shard."""
        rows = predict_inputs(self._predictor, inputs, top=self._job.top, cells=self._cells)
        done = list(rows)
        failed = sum(row.error is not None for row in done)
        return ShardResult(shard, encode_rows(done, self._job.fmt), failed)


class Engine(Protocol):
    """Whatever can predict shards: one process, many, or a cluster."""

    @property
    def capacity(self) -> int:
        """How many shards it can work on at a time."""

    def submit(self, shard: Shard, inputs: list[Input]) -> None:
        """Begin with a shard; at most `capacity` are under way."""

    def wait(self) -> ShardResult:
        """Return the next part that is ready, in any order.

        Raises:
            BulkError: A shard cannot be predicted.
        """

    def close(self) -> None:
        """Stop at once, whatever is under way."""


StartRunner = Callable[[JobSpec, int], Engine]  # for a run of so many shards
