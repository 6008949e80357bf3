"""Types and a check that the tests of the command line share."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

Completed = subprocess.CompletedProcess[str]
Run = Callable[..., Completed]


def assert_one_line(completed: Completed, exit_code: int) -> str:
    """Check that a command failed as promised, and return what it said."""
    assert completed.returncode == exit_code, completed.stderr
    assert completed.stderr.count("\n") == 1, completed.stderr
    assert completed.stderr.startswith("shopwindow: ")
    return completed.stderr.removeprefix("shopwindow: ").rstrip("\n")
