"""The real server with a feedback store of its own, as `shopwindow serve` runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def serving(
    bundle: Path, feedback: str, **settings: str
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Yield the address of a server and its process, which is killed at the end.

    Args:
        bundle: The model.
        feedback: What the setting `feedback` says.
        **settings: Further settings, by their names.
    """
    told = {"feedback": feedback, "threads": "1"} | settings
    environment = {f"SHOPWINDOW_{name.upper()}": value for name, value in told.items()}
    command = [sys.executable, "-m", "shopwindow", "serve", "--model", str(bundle), "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | environment
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "http://" in line, "the server did not start; see its message above"
            yield "http://" + line.split("http://")[1].split()[0], process
        finally:
            process.kill()
