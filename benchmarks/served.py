"""`shopwindow serve` in a process of its own, and what it takes of the machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Served:
    """A running server.

    Attributes:
        url: Where it listens, such as `http://127.0.0.1:40123`.
        process: Its process.
    """

    url: str
    process: subprocess.Popen[str]

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, for sockets."""
        host, port = self.url.removeprefix("http://").split(":")
        return host, int(port)

    @property
    def resident_bytes(self) -> int:
        """Memory that it holds now."""
        return self._memory("VmRSS")

    @property
    def peak_resident_bytes(self) -> int:
        """The most memory that it ever held, as the kernel counted it (Linux)."""
        return self._memory("VmHWM")

    def _memory(self, name: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
        if not found:
            raise RuntimeError(f"/proc says nothing of {name}; this needs Linux")
        return int(found[1]) * 1024


@contextmanager
def running_app(model: Path | None = None, **settings: object) -> Iterator[Served]:
    """Serve a model (None: the bundled one) on a free port, until the context ends.

    Args:
        model: A bundle.
        **settings: By name, as in docs/settings.md.

    Raises:
        RuntimeError: It did not start, or did not end with exit code 0 when it was asked to.
    """
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("SHOPWINDOW_")
    }
    environment |= {f"SHOPWINDOW_{name.upper()}": str(value) for name, value in settings.items()}
    command = [sys.executable, "-m", "shopwindow", "serve", "--port", "0"]
    if model is not None:
        command += ["--model", str(model)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        found = re.search(r"http://\S+", next(iter(process.stdout or ()), ""))
        if found is None:
            raise RuntimeError("the server did not start; see its message above")
        try:
            yield Served(found[0], process)
        finally:
            process.terminate()
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
        if process.returncode:
            raise RuntimeError(f"the server ended with exit code {process.returncode}")
