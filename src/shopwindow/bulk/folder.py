"""The folder in which a run leaves its parts until all are there, so that it can be killed.

::

    labels.csv.partial/
      _manifest.json       model, inputs, format and shards, written once; another run is refused
      _inputs              the list of inputs, compressed
      _done.jsonl          one line per finished shard, written after its part
      part-000000.csv      the rows of the first shard

A part is whole or not there, and counts only when its line is: whatever moment a run is killed at,
the shards without a line are predicted again, and the others are not. Names that begin with `_`
are passed over by what reads a folder of Parquet files.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from shopwindow.atomic_write import atomic_write, write_atomically
from shopwindow.bulk.inputs import Input
from shopwindow.bulk.job import JobSpec, ShardResult
from shopwindow.bulk.manifest import InputManifest, shard_size, write_manifest
from shopwindow.bulk.rows import RowFormat, is_output, join_parts
from shopwindow.errors import UsageError
from shopwindow.inference.engine import ChosenEngine

FORMAT = 1
MANIFEST = "_manifest.json"
MAX_FILE_ROWS = 1_000_000  # with more, Parquet stays a folder of parts


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """A finished shard."""

    name: str
    rows: int
    failed: int


def begun_engine(output: Path | None) -> ChosenEngine | None:
    """Return the engine of a run into `output` that was begun and not finished, if there is one."""
    if output is None:
        return None
    try:
        told = json.loads((_partial(output) / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        return None  # no such run, or none that could go on
    found = told.get("engine", _FIRST_ENGINE) if isinstance(told, dict) else None
    return found if found in get_args(ChosenEngine) else None


class PartialOutput:
    """`OUT.partial`: the parts of one run, begun or taken up again.

    Args:
        output: The file to be.

    Raises:
        UsageError: Nothing can be written there, another run is writing there now, or there is
            something that predict did not write: a typing mistake may cost nobody a table.
    """

    def __init__(self, output: Path) -> None:
        if output.is_dir() and not (output / MANIFEST).is_file():
            raise UsageError(f"Cannot write {output}: expected a file name, this is a folder.")
        if output.exists() and not (output.is_file() or output.is_dir()):
            raise UsageError(
                f"Cannot write {output}: expected a file name, this is something else. Without "
                "--output, CSV and JSON lines go to the screen, or into a pipe."
            )
        if output.is_file() and not is_output(output):
            raise UsageError(
                f"Cannot write {output}: expected nothing there yet, or what shopwindow predict "
                "wrote, found another file; name a new one with --output."
            )
        self.output = output
        self.folder = _partial(output)
        self.done: dict[str, ShardRecord] = {}
        try:
            self.folder.mkdir(exist_ok=True)
            self._lock = os.open(self.folder, os.O_RDONLY)
        except OSError as error:
            raise UsageError(f"Cannot write {output}: {error.strerror}.") from error
        try:  # ends with the process, however that ends
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise UsageError(f"Another run is writing {output} now: wait for it.") from error

    def begin(self, inputs: Iterable[Input], job: JobSpec) -> tuple[InputManifest, int]:
        """List the inputs, and see what an earlier run has done. Returns list and shard size.

        Raises:
            UsageError: What was begun here was another run.
        """
        record = self.folder / MANIFEST
        earlier = json.loads(record.read_text("utf-8")) if record.exists() else None
        manifest = write_manifest(inputs, self.folder / "_inputs")
        info = job.bundle.info
        wanted: dict[str, Any] = {
            "format": FORMAT,
            "model": {"name": info.name, "version": info.version, "sha256": job.bundle.sha256},
            "inputs": {"count": manifest.count, "sha256": manifest.sha256},
            "output": {"format": job.fmt, "top": job.top},
            "engine": job.engine,
            "shard_inputs": shard_size(manifest.count),
        }
        if earlier is None:
            write_atomically(record, json.dumps(wanted, indent=2).encode("utf-8"))
            return manifest, wanted["shard_inputs"]
        earlier = {"engine": _FIRST_ENGINE} | earlier
        for key, what in _MEANINGS.items():
            if earlier.get(key) != wanted[key]:
                raise UsageError(
                    f"{self.folder} holds a run that was begun {what}: expected "
                    f"{_told(earlier.get(key))}, got {_told(wanted[key])}. Finish that one, choose "
                    "another --output, or remove the folder."
                )
        self._read_done(job.fmt)
        return manifest, int(earlier["shard_inputs"])

    def store(self, part: ShardResult, fmt: RowFormat) -> None:
        """Write a part, then the line that makes it count."""
        write_atomically(self._path(part.shard.name, fmt), part.content)
        done = ShardRecord(part.shard.name, part.shard.size, part.failed)
        line = json.dumps({"shard": done.name, "rows": done.rows, "failed": done.failed}) + "\n"
        with (self.folder / "_done.jsonl").open("a", encoding="ascii") as file:
            file.write(line)
        self.done[done.name] = done

    def finish(self, fmt: RowFormat) -> None:
        """Make one file of the parts (or, of very many in Parquet, a folder), and remove the rest.

        Raises:
            OSError: The output cannot be written.
        """
        names = sorted(self.done)
        if fmt == "parquet" and sum(one.rows for one in self.done.values()) > MAX_FILE_ROWS:
            self._finish_as_folder(names)
            return
        with atomic_write(self.output) as file:
            join_parts([self._path(name, fmt) for name in names], file, fmt)
        shutil.rmtree(self.folder)

    def close(self) -> None:
        """Let other runs in; what is not finished stays for the next run."""
        os.close(self._lock)
        if not (self.folder / MANIFEST).exists():  # nothing was begun
            shutil.rmtree(self.folder, ignore_errors=True)

    def _finish_as_folder(self, names: list[str]) -> None:
        manifest = self.folder / MANIFEST
        told = json.loads(manifest.read_text("utf-8"))
        told["shards"] = [
            {"shard": name, "rows": self.done[name].rows, "failed": self.done[name].failed}
            for name in names
        ]
        write_atomically(manifest, json.dumps(told, indent=2).encode("utf-8"))
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

    def _read_done(self, fmt: RowFormat) -> None:
        with contextlib.suppress(FileNotFoundError):
            for line in (self.folder / "_done.jsonl").read_text("ascii").splitlines():
                try:
                    told = json.loads(line)
                    done = ShardRecord(told["shard"], told["rows"], told["failed"])
                except (ValueError, TypeError, KeyError):
                    continue  # the machine went down in the middle of the line
                if self._path(done.name, fmt).exists():
                    self.done[done.name] = done

    def _path(self, name: str, fmt: RowFormat) -> Path:
        return self.folder / f"{name}.{fmt}"


def _partial(output: Path) -> Path:
    return output.with_name(f"{output.name}.partial")


_FIRST_ENGINE: ChosenEngine = "onnxruntime"  # of versions that knew one, and did not say so
_MEANINGS = {
    "format": "by another version of shopwindow",
    "engine": "with another engine (SHOPWINDOW_ENGINE)",
    "model": "with another model",
    "inputs": "on another list of inputs",
    "output": "for another output",
}


def _told(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    return " ".join(f"{one:,}" if isinstance(one, int) else str(one)[:12] for one in value.values())
