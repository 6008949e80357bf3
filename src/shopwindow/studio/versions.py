"""The models of a project: written by a job, compared, put in the window, taken out again."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shopwindow.atomic_write import write_atomically
from shopwindow.bundle import read_bundle
from shopwindow.errors import PromotionError, ShopwindowError, StudioConflictError, StudioError
from shopwindow.evaluation.history import ModelHistory
from shopwindow.studio.project import FIGURES, RUNS, WINDOW

MAX_NOTE_CHARACTERS = 1_000
_NAME = re.compile(r"studio-(\d{1,9})")
_NICENESS = 10  # visitors come first
_BYTES_PER_PHOTO = 192 * 192 * 3 + 4_000  # decoded, with its features
_BUNDLE_BYTES = 60_000_000  # the model, its draft, and the copy in the history


class Versions:
    """All models of a project. Thread-safe.

    Args:
        folder: The project.
        hidden: Its hidden folder.
        changed: Called when there is news.

    Attributes:
        project_id: Tells this project from others, for addresses that a browser keeps.
        window_file: The model that is served, if there is one.
        put_in_window: Called after another model was put there.
    """

    def __init__(self, folder: Path, hidden: Path, changed: Callable[[], object]) -> None:
        self._folder, self._changed = folder, changed
        self._history = ModelHistory(folder / WINDOW)
        self.window_file = folder / WINDOW
        self.put_in_window: Callable[[], object] = lambda: None
        self.project_id = _read_id(hidden / "id")
        for path in hidden.glob("decoding-*"):  # what a killed job left
            shutil.rmtree(path, ignore_errors=True)
        self._lock = threading.RLock()  # of the job and of what is in the window
        self._job: dict[str, Any] | None = None
        self._process: subprocess.Popen[str] | None = None
        self._began_s = 0.0
        self._window_stamp: tuple[int, int] | None = None
        self._window: dict[str, Any] | None = None

    @property
    def job(self) -> dict[str, Any] | None:
        """What the job does, or how the last one ended, as the page gets it."""
        with self._lock:
            if self._job is None:
                return None
            if self._job["status"] == "running":
                self._job["seconds"] = round(time.monotonic() - self._began_s)
            return dict(self._job)

    def describe(self) -> dict[str, Any]:
        """Return all versions, the newest first."""
        window = self.window() or {}
        found = []
        for name in self._names():
            if (figures := self._figures(name)) is None:
                continue
            sha256 = figures["sha256"]
            if gate := figures["gate"]:
                gate["against"] = self._named(gate.pop("against_sha256"))
            figures["in_window"] = window.get("sha256") == sha256
            figures["was_in_window"] = (self._history.folder / f"{sha256[:16]}.onnx").exists()
            found.append({"version": name, "note": self._note(name), **figures})
        return {"versions": found, "can_roll_back": self._history.before() is not None}

    def window(self) -> dict[str, Any] | None:
        """Return which version is in the window; None where there is none."""
        with self._lock:
            try:
                status = self.window_file.stat()
            except OSError:
                return None
            stamp = status.st_mtime_ns, status.st_ino
            if stamp != self._window_stamp:
                sha256 = self._history.sha256()
                since = datetime.fromtimestamp(status.st_mtime, UTC).isoformat(timespec="seconds")
                self._window = {
                    "version": self._named(sha256),
                    "name": self._folder.name,
                    "sha256": sha256,
                    "since": since,
                }
                self._window_stamp = stamp
            return self._window

    def make(self, *, promote: bool, note: str, grouped: bool, photos: int) -> str:
        """Begin to write a new version, and return its name.

        Args:
            promote: Whether to put it in the window, if nothing speaks against it.
            note: For people.
            grouped: Whether photos have groups.
            photos: How many there are.

        Raises:
            StudioConflictError: A job is running already.
            StudioError: The disk has no room, or the note is too long.
        """
        _check_note(note)
        wanted = photos * _BYTES_PER_PHOTO + _BUNDLE_BYTES
        free = shutil.disk_usage(self._folder).free
        if free < wanted:
            raise StudioError(
                f"A new version takes {wanted / 1e6:,.0f} MB while it is made, and the disk has "
                f"{free / 1e6:,.0f} MB free: make room first."
            )
        with self._lock:
            if self._job is not None and self._job["status"] == "running":
                raise StudioConflictError(
                    f"{self._job['version']} is being made; wait until it is done, or stop it."
                )
            numbers = [int(name.removeprefix("studio-")) for name in self._names()]
            version = f"studio-{max(numbers, default=0) + 1}"
            run = self._folder / RUNS / version
            run.mkdir(parents=True)
            if note:
                self.write_note(version, note)
            command = [sys.executable, "-m", "shopwindow.studio.version_job"]
            command += [str(self._folder), version, *(["--grouped"] if grouped else [])]
            self._process = subprocess.Popen(  # noqa: S603 (our own module)
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )
            if hasattr(os, "setpriority"):
                with contextlib.suppress(OSError):  # over already
                    os.setpriority(os.PRIO_PROCESS, self._process.pid, _NICENESS)
            self._began_s = time.monotonic()
            self._job = {
                "kind": "version",
                "version": version,
                "status": "running",
                "step": "Starting",
                "sentence": None,
                "seconds": 0,
            }
            follow = threading.Thread(
                target=self._follow, args=(self._process, version, promote), name="studio-job"
            )
            follow.daemon = True
            follow.start()
        self._changed()
        return version

    def stop_job(self) -> None:
        """End the job that runs, if there is one."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._process.terminate()

    def close(self) -> None:
        """End the job that runs, and wait for that."""
        self.stop_job()
        if self._process is not None:
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()

    def promote(self, version: str, *, anyway: bool) -> None:
        """Put a version in the window.

        Args:
            version: Its name.
            anyway: Whether also if it is worse than what is there.

        Raises:
            StudioError: There is no such version.
            StudioConflictError: It is worse.
        """
        figures = self._figures(version)
        if figures is None:
            raise StudioError(f"There is no version {version}.")
        gate = figures["gate"] or {"objections": []}
        window = self.window()
        objections = list(gate["objections"])
        if window is not None and gate.get("against_sha256") != window["sha256"]:
            objections = self._compare_again(version, window)
        if objections and not anyway:
            raise StudioConflictError(
                f"{version} is not put in the window: {'; '.join(objections)}.",
                {"objections": objections},
            )
        with self._history.locked():
            before = read_bundle(self._history.path) if self._history.path.exists() else None
            new = read_bundle(self.model_file(version))
            if before is None or before.sha256 != new.sha256:
                self._history.promote(new, before, {"gate": figures["gate"], "anyway": anyway})
        self._show()

    def rollback(self) -> None:
        """Put back what was in the window before.

        Raises:
            StudioError: Nothing was.
        """
        if self._history.before() is None:
            raise StudioError("There is no earlier model to go back to.")
        try:
            with self._history.locked():
                self._history.rollback()
        except (PromotionError, ShopwindowError) as error:
            raise StudioError(str(error)) from error
        self._show()

    def model_file(self, version: str) -> Path:
        """Return the file of a version.

        Raises:
            StudioError: There is none.
        """
        path = self._folder / RUNS / version / "model.onnx"
        if not _NAME.fullmatch(version) or not path.is_file():
            raise StudioError(f"There is no version {version[:40]}.")
        return path

    def write_note(self, version: str, note: str) -> None:
        """Keep a note on a version.

        Raises:
            StudioError: It is too long, or there is no such version.
        """
        _check_note(note)
        folder = self._folder / RUNS / version
        if not _NAME.fullmatch(version) or not folder.is_dir():
            raise StudioError(f"There is no version {version[:40]}.")
        write_atomically(folder / "note.txt", note.encode("utf-8", "replace"))
        self._changed()

    def _follow(self, process: subprocess.Popen[str], version: str, promote: bool) -> None:
        """Read what the job says until it ends, then put its model in the window if asked."""
        run = self._folder / RUNS / version
        error = ""
        assert process.stdout is not None  # noqa: S101 (it is a pipe)
        with (run / "log.txt").open("w", encoding="utf-8") as log:
            for line in process.stdout:
                log.write(line)
                log.flush()
                if line.startswith("step: "):
                    self._say(step=line[6:].strip())
                elif line.startswith("error: "):
                    error = line[7:].strip()
        code = process.wait()
        if code < 0:
            error = "It was stopped."
        elif code and not error:
            error = f"It failed; {RUNS}/{version}/log.txt has the reason."
        if error:
            if not (run / FIGURES).exists():  # nothing that anybody could use
                shutil.rmtree(run, ignore_errors=True)
            self._say(status="failed", sentence=error)
            return
        self._say(status="done", sentence=self._outcome(version, promote))

    def _outcome(self, version: str, promote: bool) -> str:
        if not promote:
            return f"{version} is written."
        try:
            self.promote(version, anyway=False)
        except ShopwindowError as error:
            return str(error)
        return f"{version} is in the window."

    def _say(self, **news: Any) -> None:
        with self._lock:
            if self._job is not None:
                self._job.update(news, seconds=round(time.monotonic() - self._began_s))
        self._changed()

    def _show(self) -> None:
        with self._lock:  # what the last job put in the window may not be there any more
            if self._job is not None and self._job["status"] != "running":
                self._job = None
        self.put_in_window()
        self._changed()

    def _compare_again(self, version: str, window: dict[str, Any]) -> list[str]:
        if self._named(window["sha256"]) == version:
            return []
        return [
            f"it was not compared with {window['version'] or 'the model'}, which has come into the "
            "window since"
        ]

    def _names(self) -> list[str]:
        """Return the names of all version folders, the newest first."""
        folder = self._folder / RUNS
        paths = folder.iterdir() if folder.is_dir() else ()
        matched = [path.name for path in paths if _NAME.fullmatch(path.name)]
        return sorted(matched, key=lambda name: -int(name.removeprefix("studio-")))

    def _figures(self, version: str) -> dict[str, Any] | None:
        if not _NAME.fullmatch(version):
            return None
        try:
            text = (self._folder / RUNS / version / FIGURES).read_text("utf-8")
            found: dict[str, Any] = json.loads(text)
        except (OSError, ValueError):
            return None
        return found

    def _named(self, sha256: str) -> str | None:
        """Return the version that a bundle is, if it is one."""
        for name in self._names():
            figures = self._figures(name)
            if figures is not None and figures["sha256"] == sha256:
                return name
        return None

    def _note(self, version: str) -> str:
        try:
            return (self._folder / RUNS / version / "note.txt").read_text("utf-8")
        except OSError:
            return ""


def _check_note(note: str) -> None:
    if len(note) > MAX_NOTE_CHARACTERS:
        raise StudioError(f"A note has at most {MAX_NOTE_CHARACTERS:,} characters.")


def _read_id(path: Path) -> str:
    with contextlib.suppress(OSError):
        if re.fullmatch("[0-9a-f]{8}", text := path.read_text("ascii", "replace")):
            return text
    made = secrets.token_hex(4)
    write_atomically(path, made.encode("ascii"))
    return made
