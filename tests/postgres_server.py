"""A real PostgreSQL server of the tests' own, in a temporary folder and without a port."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def find_binaries() -> Path:
    """Return the folder with `initdb` and `pg_ctl`, or skip the test."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).parent
    # Where Debian puts them, beside one another for each version.
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parts[-2]))
    if not found:
        pytest.skip("no PostgreSQL is here; to have it: apt-get install postgresql")
    return found[-1]


@contextmanager
def running_postgresql() -> Iterator[str]:
    """Yield the URL of a database in a server that listens on a socket in its own folder."""
    binaries = find_binaries()
    # PostgreSQL refuses to run as root; Debian's package brings a user for it. Not pytest's folder:
    # no other user may look into that. Short: the path of a socket has 107 characters at most.
    user = "postgres" if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="pg-"))

    def run(program: str, *arguments: str) -> None:
        completed = subprocess.run(
            [binaries / program, *arguments],
            user=user,
            group=user,
            extra_groups=[] if user else None,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # a pipe would stay open as long as the server does
            stderr=None,
            check=False,
        )
        assert completed.returncode == 0, f"{program} failed; see its message above"

    try:
        if user:
            shutil.chown(folder, user, user)
        data = str(folder / "data")
        run("initdb", "--pgdata", data, "--username=tests", "--auth=trust", "--no-sync")
        options = f"-k {folder} -c listen_addresses=''"
        run("pg_ctl", "start", "-w", "-D", data, "-l", str(folder / "log"), "-o", options)
        try:
            yield f"postgresql://tests@/postgres?host={folder}"
        finally:
            run("pg_ctl", "stop", "-D", data, "-m", "fast")
    finally:
        shutil.rmtree(folder)
