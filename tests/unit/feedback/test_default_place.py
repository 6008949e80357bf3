"""Which file keeps the feedback on a model where no other is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from colour_bundle import colour_info
from shopwindow.bundle import BundleInfo
from shopwindow.feedback.opening import default_place, other_places


@pytest.fixture(autouse=True)
def user_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return tmp_path / "shopwindow"


def _with_labels(
    info: BundleInfo, change: Callable[[tuple[str, ...]], tuple[str, ...]]
) -> BundleInfo:
    main = replace(info.main, labels=change(info.main.labels))
    return replace(info, columns=(main, *info.columns[1:]), families=())


def test_later_version_of_a_model_uses_the_same_file() -> None:
    info = colour_info()
    assert default_place(replace(info, version="99.0")) == default_place(info)
    shuffled = _with_labels(info, lambda labels: labels[::-1])
    assert default_place(shuffled) == default_place(info)


def test_other_models_and_other_labels_have_other_files() -> None:
    info = colour_info()
    fewer = _with_labels(info, lambda labels: labels[:-1])
    places = [default_place(one) for one in (info, replace(info, name="shades"), fewer)]
    assert len(set(places)) == 3


@pytest.mark.parametrize("name", ["../../etc/x", "a b/c", "*?[x]", "höse", "x" * 300])
def test_a_name_from_a_file_stays_in_the_folder(user_folder: Path, name: str) -> None:
    info = replace(colour_info(), name=name)
    place = default_place(info)
    assert place.parent == user_folder / "feedback"
    place.parent.mkdir(parents=True)
    place.touch()
    assert other_places(info) == []


def test_files_of_other_labels_and_older_versions_are_found(user_folder: Path) -> None:
    info = colour_info()
    fewer = _with_labels(info, lambda labels: labels[:-1])
    strangers = replace(info, name="shades")
    for one in (fewer, strangers):
        default_place(one).parent.mkdir(parents=True, exist_ok=True)
        default_place(one).touch()
    before = user_folder / "feedback.sqlite3"
    before.touch()
    assert set(other_places(info)) == {before, default_place(fewer)}
