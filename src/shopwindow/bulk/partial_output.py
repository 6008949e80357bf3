"""The folder that collects the parts of a run until all are there, so that it can be killed.

::

    labels.csv.partial/
      _manifest.json       model, inputs, format, shard size; another run is refused
      _inputs              the list of inputs, compressed
      _done.jsonl          a line for each finished shard, written after its part
      part-000000.csv      the rows of the first shard

A part is written atomically, and counts only once it has its line: whenever a run is killed, the
shards without a line are predicted again, and the others are not. Readers of Parquet folders skip
names that begin with `_`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, get_args

from shopwindow.atomic_write import atomic_write, write_atomically
from shopwindow.bulk.inputs import Input
from shopwindow.bulk.job import JobSpec, ShardResult
from shopwindow.bulk.manifest import InputManifest, shard_size, write_manifest
from shopwindow.bulk.rows import RowFormat, is_output, join_parts
from shopwindow.errors import UsageError
from shopwindow.inference.engine import ChosenEngine

FORMAT = 2
MANIFEST = "_manifest.json"
MAX_FILE_ROWS = 1_000_000  # with more, Parquet stays a folder of parts

_FIRST_ENGINE: ChosenEngine = "onnxruntime"  # of early versions, which had no other to record
_DIFFERENCES = {
    "format": "of another version of shopwindow",
    "engine": "with another engine (SHOPWINDOW_ENGINE)",
    "model": "with another model",
    "inputs": "on another list of inputs",
    "output": "for another output",
}


class ShardRecord(NamedTuple):
    """A line of `_done.jsonl`: a finished shard."""

    shard: str
    rows: int
    failed: int


def begun_engine(output: Path | None) -> ChosenEngine | None:
    """Return the engine of the unfinished run into `output`, if there is one."""
    if output is None:
        return None
    try:
        manifest = json.loads((_partial(output) / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        return None  # no such run, or none that could continue
    engine = manifest.get("engine", _FIRST_ENGINE) if isinstance(manifest, dict) else None
    return engine if engine in get_args(ChosenEngine) else None


class PartialOutput:
    """`OUT.partial`: the parts of one run, new or resumed.

    Args:
        output: The file to write in the end.

    Attributes:
        folder: Where the parts are.
        finished: The record of each finished shard, by its name.

    Raises:
        UsageError: Nothing can be written there, another run is writing there now, or there is
            something that `predict` did not write: a typing mistake must not cost anyone a table.
    """

    def __init__(self, output: Path) -> None:
        _check_output(output)
        self.output = output
        self.folder = _partial(output)
        self.finished: dict[str, ShardRecord] = {}
        try:
            self.folder.mkdir(exist_ok=True)
            self._lock = os.open(self.folder, os.O_RDONLY)
        except OSError as error:
            raise UsageError(f"Cannot write {output}: {error.strerror}.") from error
        try:  # the lock ends with the process, however that ends
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise UsageError(f"Another run is writing {output}: wait until it ends.") from error

    def begin(self, inputs: Iterable[Input], job: JobSpec) -> tuple[InputManifest, int]:
        """List the inputs, and find what an earlier run finished. Returns list and shard size.

        Raises:
            UsageError: The unfinished run here is another one.
        """
        path = self.folder / MANIFEST
        earlier = json.loads(path.read_text("utf-8")) if path.exists() else None
        manifest = write_manifest(inputs, self.folder / "_inputs")
        info = job.bundle.info
        wanted: dict[str, Any] = {
            "format": FORMAT,
            "model": {"name": info.name, "version": info.version, "sha256": job.bundle.sha256},
            "inputs": {"count": manifest.count, "sha256": manifest.sha256},
            "output": {"format": job.fmt, "top": job.top}
            | ({"embeddings": "with embeddings"} if job.embeddings else {}),
            "engine": job.engine,
            "shard_inputs": shard_size(manifest.count),
        }
        if earlier is None:
            write_atomically(path, json.dumps(wanted, indent=2).encode("utf-8"))
            return manifest, wanted["shard_inputs"]
        earlier = {"engine": _FIRST_ENGINE} | earlier
        for key, difference in _DIFFERENCES.items():
            if earlier.get(key) != wanted[key]:
                raise UsageError(
                    f"{self.folder} holds an unfinished run {difference}: expected "
                    f"{_in_words(earlier.get(key))}, got {_in_words(wanted[key])}. Finish that "
                    "run, choose another --output, or remove the folder."
                )
        self._read_finished(job.fmt)
        return manifest, int(earlier["shard_inputs"])

    def store(self, result: ShardResult, fmt: RowFormat) -> None:
        """Write a part, then the line that makes it count."""
        shard = result.shard
        write_atomically(self._part(shard.name, fmt), result.content)
        record = ShardRecord(shard.name, shard.size, result.failed)
        with (self.folder / "_done.jsonl").open("a", encoding="ascii") as file:
            file.write(json.dumps(record._asdict()) + "\n")
        self.finished[shard.name] = record

    def finish(self, fmt: RowFormat) -> None:
        """Join the parts into one file (or keep a folder of very many in Parquet), and clean up.

        Raises:
            OSError: The output cannot be written.
        """
        records = [self.finished[name] for name in sorted(self.finished)]
        if fmt == "parquet" and sum(record.rows for record in records) > MAX_FILE_ROWS:
            self._finish_as_folder(records)
            return
        with atomic_write(self.output) as file:
            join_parts([self._part(record.shard, fmt) for record in records], file, fmt)
        shutil.rmtree(self.folder)

    def close(self) -> None:
        """Release the lock; unfinished work stays for the next run."""
        os.close(self._lock)
        if not (self.folder / MANIFEST).exists():  # nothing was begun
            shutil.rmtree(self.folder, ignore_errors=True)

    def _finish_as_folder(self, records: list[ShardRecord]) -> None:
        path = self.folder / MANIFEST
        manifest = json.loads(path.read_text("utf-8"))
        manifest["shards"] = [record._asdict() for record in records]
        write_atomically(path, json.dumps(manifest, indent=2).encode("utf-8"))
        aside = self.output.with_name(f".{self.output.name}.{secrets.token_hex(4)}.old")
        with contextlib.suppress(FileNotFoundError):
            self.output.rename(aside)
        self.folder.rename(self.output)
        for name in ("_inputs", "_done.jsonl"):
            (self.output / name).unlink(missing_ok=True)
        if aside.is_dir():
            shutil.rmtree(aside)
        else:
            aside.unlink(missing_ok=True)

    def _read_finished(self, fmt: RowFormat) -> None:
        with contextlib.suppress(FileNotFoundError):
            for line in (self.folder / "_done.jsonl").read_text("ascii").splitlines():
                try:
                    record = ShardRecord(**json.loads(line))
                except (ValueError, TypeError):
                    continue  # the machine went down in the middle of the line
                if self._part(record.shard, fmt).exists():
                    self.finished[record.shard] = record

    def _part(self, name: str, fmt: RowFormat) -> Path:
        return self.folder / f"{name}.{fmt}"


def _partial(output: Path) -> Path:
    return output.with_name(f"{output.name}.partial")


def _check_output(output: Path) -> None:
    if output.is_dir() and not (output / MANIFEST).is_file():
        raise UsageError(f"Cannot write {output}: expected a file name, this is a folder.")
    if output.exists() and not (output.is_file() or output.is_dir()):
        raise UsageError(
            f"Cannot write {output}: expected a file name, this is something else. Without "
            "--output, CSV and JSON lines go to the screen or into a pipe."
        )
    if output.is_file() and not is_output(output):
        raise UsageError(
            f"Cannot write {output}: shopwindow predict did not write the file that is there; "
            "choose another --output."
        )


def _in_words(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    return " ".join(f"{v:,}" if isinstance(v, int) else str(v)[:12] for v in value.values())
