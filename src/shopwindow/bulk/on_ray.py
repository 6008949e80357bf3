"""The runner on a Ray cluster: a shard is a task, and Ray finds it a processor.

Tasks rather than actors or Ray Data: when a machine is lost, its tasks run again on any processor
that becomes free, while an actor waits for one of its own (docs/decisions/bulk.md).
"""

from __future__ import annotations

import logging
from typing import Any

from shopwindow.bulk.inputs import Input
from shopwindow.bulk.job import JobSpec, ShardPredictor, ShardResult, StartRunner
from shopwindow.bulk.manifest import Shard
from shopwindow.errors import BulkError, MissingExtraError

_PER_CPU = 2  # shards submitted for each processor, so that none waits for the next

# In a Ray worker, which runs many shards: the predictor of the last job.
_predictors: dict[tuple[str, str, int, str], ShardPredictor] = {}


def start_ray(address: str | None = None) -> StartRunner:
    """Return a function that starts a runner on Ray.

    Args:
        address: Of a cluster, such as `ray://head:10001`; None starts Ray on this machine, or uses
            the cluster in `RAY_ADDRESS`.

    Raises:
        MissingExtraError: Ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("--runner ray", "ray") from error
    del ray
    return lambda job, _: RayRunner(job, address)


class RayRunner:
    """Predicts shards on a Ray cluster. Its nodes need shopwindow, and access to the inputs."""

    def __init__(self, job: JobSpec, address: str | None) -> None:
        import ray

        self._ray: Any = ray
        self._owns_ray = not ray.is_initialized()
        if self._owns_ray:
            try:
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise BulkError(f"No Ray cluster answers at {address}: {error}") from error
        # Losing a machine is not the shard's fault: retry as often as it takes.
        self._task = ray.remote(num_cpus=1, max_retries=-1)(_predict)
        self._job = ray.put(job)
        self._running: list[Any] = []

    @property
    def capacity(self) -> int:
        """Some shards per processor of the cluster as it is now."""
        return _PER_CPU * max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def submit(self, shard: Shard, inputs: list[Input]) -> None:
        """Hand a shard to Ray."""
        self._running.append(self._task.remote(self._job, shard, inputs))

    def wait(self) -> ShardResult:
        """Return the next finished shard.

        Raises:
            BulkError: Ray could not run a shard.
        """
        (ready, *_), self._running = self._ray.wait(self._running)
        try:
            result: ShardResult = self._ray.get(ready)
        except self._ray.exceptions.RayError as error:
            cause = str(error).strip().splitlines()[-1]
            raise BulkError(f"Ray could not predict a shard: {cause}") from error
        return result

    def close(self) -> None:
        """Cancel unfinished shards; shut Ray down if it was started here."""
        if self._owns_ray:
            self._ray.shutdown()
            return
        for task in self._running:
            self._ray.cancel(task, force=True)


def _predict(job: JobSpec, shard: Shard, inputs: list[Input]) -> ShardResult:
    key = job.bundle.sha256, job.fmt, job.top, job.engine
    if key not in _predictors:
        _predictors.clear()
        _predictors[key] = ShardPredictor(job)
    return _predictors[key].predict(shard, inputs)
