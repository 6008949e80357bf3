"""A file is there as a whole, or as it was before."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from shopwindow.atomic_write import write_atomically
from shopwindow.errors import UsageError


def test_file_is_replaced_and_no_other_stays(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    with pytest.raises(TypeError):
        write_atomically(path, "text is not bytes")  # type: ignore[arg-type]
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_replaced_file_stays_as_private_or_as_open_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    for mode in (0o600, 0o664):
        path.write_text("old")
        path.chmod(mode)
        write_atomically(path, b"new")
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match="expected the name of a file, found something else"):
        write_atomically(pipe, b"new")
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path, b"new")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]
