"""Types and a check that the tests of the command line share."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable

Completed = subprocess.CompletedProcess[str]
Run = Callable[..., Completed]


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
