"""The command line in a test: its `main` in this process, or the program in one of its own.

Importing torch takes longer than most commands do, so a test calls `main` unless it is about what
only a process has: signals, a closed pipe, a full disk, a server, or `kill -9`.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from shopwindow.cli import main

Completed = subprocess.CompletedProcess[str]
Run = Callable[..., Completed]


def call_main(
    folder: Path, *arguments: str | Path, env: Mapping[str, str] = MappingProxyType({})
) -> Completed:
    """Call the command line's `main` with `folder` as the working directory.

    Args:
        folder: Also where decoded images are cached.
        *arguments: What follows the program's name.
        env: Environment variables. Settings of shopwindow come from here alone.
    """
    words = [str(argument) for argument in arguments]
    output, errors = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("SHOPWINDOW_"):
                patch.delenv(name)
        usual = {"XDG_CACHE_HOME": str(folder / "cache"), "COLUMNS": "80"}
        for name, value in {**usual, **env}.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            code = main(words)
    return Completed(words, code, _text(output), _text(errors))


def run_block(block: str, folder: Path, **environment: str) -> Completed:
    """Run a block as a person does who has activated the environment of these tests."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        ["sh", "-e", "-c", block],
        cwd=folder,
        env=os.environ | {"PATH": path, "XDG_CACHE_HOME": str(folder / "cache")} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as shell:
        try:
            output, errors = shell.communicate()
        except BaseException:  # a timeout of the test must not leave a training behind
            os.killpg(shell.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(block, shell.returncode, output, errors)


def run_until(process: subprocess.Popen[str], has_come: Callable[[], bool]) -> None:
    """Let a process run until something has come, and fail if it ends before."""
    while not has_come():
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.01)
            assert has_come(), "the run was over before the moment came"


def assert_one_line(completed: Completed, exit_code: int) -> str:
    """Check that a command failed as promised, and return what it said."""
    assert completed.returncode == exit_code, completed.stderr
    assert completed.stderr.count("\n") == 1, completed.stderr
    assert completed.stderr.startswith("shopwindow: ")
    return completed.stderr.removeprefix("shopwindow: ").rstrip("\n")


def _text(stream: io.TextIOWrapper) -> str:
    """Return what was written, with the line ends that a process's text output has."""
    stream.flush()
    written = stream.buffer
    assert isinstance(written, io.BytesIO)
    return io.TextIOWrapper(io.BytesIO(written.getvalue()), "utf-8").read()
