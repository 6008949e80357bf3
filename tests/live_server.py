"""The real server, as its own process: what `shopwindow serve` runs, on a free port."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Started unable to write a single byte to any file: proof that uploads are never stored.
_PROGRAM = """
import resource, sys
from pathlib import Path
from shopwindow.inference.predictor import load_predictor
from shopwindow.settings import Settings
from shopwindow.web.server.serve import serve
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
serve(load_predictor(Path(sys.argv[1]), threads=1), Settings(port=0, feedback="off"))
"""


@contextmanager
def running_server(bundle: Path, *, stop_with: signal.Signals = signal.SIGTERM) -> Iterator[str]:
    """Yield the address of a server of the bundle, and check that it ends with exit code 0."""
    command = [sys.executable, "-c", _PROGRAM, str(bundle)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "http://" in line, "the server did not start; see its message above"
            yield "http://" + line.split("http://")[1].split()[0]
        finally:
            process.send_signal(stop_with)
            try:
                code = process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        assert code == 0
