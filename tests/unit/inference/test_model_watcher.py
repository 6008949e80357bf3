"""A model file is replaced under a running server: good files are taken, bad ones refused."""

from __future__ import annotations

import json
import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from colour_bundle import colour_info, write_colour_bundle
from shopwindow.inference.model_watcher import ModelWatcher
from shopwindow.inference.predictor import Predictor, load_predictor


def write_version(path: Path, version: str) -> None:
    info = replace(colour_info(), version=version)
    new = path.with_suffix(".new")
    write_colour_bundle(new, metadata=json.dumps(info.as_json()))
    new.replace(path)


class Served:
    """A served model: what a server would do with what the watch hands over."""

    def __init__(self, path: Path) -> None:
        self.predictor = load_predictor(path, threads=1)
        self.refused = 0
        self.watch = ModelWatcher(
            path,
            self.predictor,
            load=lambda path: load_predictor(path, threads=1),
            on_load=self._take,
            on_refusal=self._refuse,
        )

    @property
    def version(self) -> str:
        return self.predictor.bundle.info.version

    def check_until_settled(self) -> None:
        self.watch.check()
        self.watch.check()

    def _take(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def _refuse(self) -> None:
        self.refused += 1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_colour_bundle(tmp_path / "model.onnx")


@pytest.fixture
def served(path: Path) -> Served:
    return Served(path)


def test_new_file_in_the_place_of_the_old_one_is_taken(served: Served, path: Path) -> None:
    served.check_until_settled()
    assert served.version == "1.0"
    write_version(path, "2.0")
    served.check_until_settled()
    assert served.version == "2.0"
    write_version(path, "3.0")
    served.check_until_settled()
    assert (served.version, served.refused) == ("3.0", 0)


def test_file_replaced_before_the_first_look_is_noticed(served: Served, path: Path) -> None:
    write_version(path, "2.0")
    served.check_until_settled()
    assert served.version == "2.0"


def test_broken_file_is_refused_once_with_a_sentence_and_the_next_good_one_taken(
    served: Served, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(b"not a model")
    for _ in range(5):
        served.watch.check()
    assert (served.version, served.refused) == ("1.0", 1)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert (
        "The new model was refused; the old one stays in service: The model" in record.getMessage()
    )
    assert record.exc_info is None
    write_version(path, "2.0")
    served.check_until_settled()
    assert served.version == "2.0"


def test_file_that_is_still_being_copied_is_left_alone(
    served: Served, path: Path, tmp_path: Path
) -> None:
    served.check_until_settled()
    new = tmp_path / "other.onnx"
    write_version(new, "2.0")
    content = new.read_bytes()
    for size in range(100, len(content), 500):
        path.write_bytes(content[:size])
        served.watch.check()
    assert (served.version, served.refused) == ("1.0", 0)
    path.write_bytes(content)
    served.check_until_settled()
    assert served.version == "2.0"


def test_file_that_is_away_for_a_while_changes_nothing(
    served: Served, path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.rename(tmp_path / "away.onnx")
    served.check_until_settled()
    path.mkdir()
    served.check_until_settled()
    path.rmdir()
    (tmp_path / "away.onnx").rename(path)
    served.check_until_settled()
    assert served.version == "1.0"


def test_same_content_with_a_new_date_is_not_loaded_again(served: Served, path: Path) -> None:
    before = served.predictor
    os.utime(path, (1, 1))
    served.check_until_settled()
    copy = path.with_suffix(".copy")
    shutil.copy(path, copy)
    copy.replace(path)
    served.check_until_settled()
    assert served.predictor is before


def test_bug_while_loading_does_not_end_the_watch(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    served = Served(path)
    served.watch._load = lambda path: 1 / 0  # type: ignore[assignment,return-value]
    write_version(path, "2.0")
    served.check_until_settled()
    assert served.refused == 1
    assert "ZeroDivisionError" in caplog.text
    served.watch._load = lambda path: load_predictor(path, threads=1)
    write_version(path, "3.0")
    served.check_until_settled()
    assert served.version == "3.0"
