"""`feedback export`, and where promote looks for corrections by itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from command_line import Run, assert_one_line

from colour_bundle import colour_info, write_colour_bundle
from shopwindow.data.dataset import load_dataset
from shopwindow.data.split import split_images
from shopwindow.feedback.feedback import Photo
from shopwindow.feedback.opening import default_place, open_store
from some_feedback import some_feedback


@pytest.fixture
def store(tmp_path: Path, image_bytes: Callable[..., bytes]) -> Path:
    """A store with a photo of a black thing that was called red, which nobody has reviewed."""
    path = tmp_path / "feedback.sqlite3"
    opened = open_store(str(path))
    opened.add(
        some_feedback(
            id="ab" * 16,
            created_at=datetime(2026, 11, 25, tzinfo=UTC),
            confidence=0.5,
            given="black",
        ),
        Photo(image_bytes("black", format="JPEG")),
    )
    opened.close()
    return path


def review(store: Path) -> None:
    opened = open_store(str(store))
    opened.review("ab" * 16, "accepted", "black")
    opened.close()


def test_export_writes_what_was_reviewed_and_says_so_where_nothing_was(
    run_shopwindow: Run, store: Path, tmp_path: Path
) -> None:
    none = run_shopwindow("feedback", "export", "out", "--feedback", store)
    assert (
        "reviewed at /review or included by shopwindow feedback export --all, found none"
        in assert_one_line(none, 1)
    )
    every = run_shopwindow(
        "feedback", "export", "all", "--all", env={"SHOPWINDOW_FEEDBACK": str(store)}
    )
    assert (every.returncode, every.stdout) == (0, "all: 1 photo\n")
    review(store)
    assert run_shopwindow("feedback", "export", "out", "--feedback", store).returncode == 0
    table = (tmp_path / "out" / "corrections.csv").read_text().splitlines()
    assert table[0] == "image,label,predicted,confidence,given_at,status"
    name = f"images/{'ab' * 16}.jpeg"
    assert table[1] == f"{name},black,red,0.500000,2026-11-25T00:00:00+00:00,accepted"
    assert (tmp_path / "out" / name).is_file()


def test_export_where_feedback_is_off_says_so(run_shopwindow: Run) -> None:
    off = run_shopwindow("feedback", "export", "out", env={"SHOPWINDOW_FEEDBACK": "off"})
    assert "expected a store, found off" in assert_one_line(off, 2)


def test_mistyped_store_is_refused_and_not_made(run_shopwindow: Run, tmp_path: Path) -> None:
    for options in ({}, {"env": {"SHOPWINDOW_FEEDBACK": "typo.sqlite3"}}):
        where = () if options else ("--feedback", "typo.sqlite3")
        found = run_shopwindow("feedback", "export", "out", *where, **options)
        assert "expected a feedback store, found no such file" in assert_one_line(found, 2)
    assert not (tmp_path / "typo.sqlite3").exists()


def test_promote_asks_the_store_of_the_settings_by_itself(
    run_shopwindow: Run, store: Path, colour_photos: Path, tmp_path: Path
) -> None:
    dataset = load_dataset(colour_photos, rule=colour_info().rule, cache_dir=tmp_path / "c")
    data = {"split": split_images(dataset).as_record(dataset)}
    for version in ("1.0", "2.0"):
        info = replace(colour_info(), version=version, data=data)
        write_colour_bundle(tmp_path / f"{version}.onnx", metadata=json.dumps(info.as_json()))
    promote = ("promote", "2.0.onnx", "--model", "1.0.onnx", "--data", colour_photos)
    review(store)
    with_store = run_shopwindow(*promote, env={"SHOPWINDOW_FEEDBACK": str(store)})
    assert with_store.returncode == 0, with_store.stderr
    assert "on 1 correction" in with_store.stdout
    run_shopwindow("rollback", "--model", "1.0.onnx")
    # A mistyped one must not let a bundle pass that forgets corrections.
    mistyped = run_shopwindow(*promote, "--feedback", "typo")
    assert "expected a feedback store, found no such file" in assert_one_line(mistyped, 2)
    assert not (tmp_path / "typo").exists()
    # Nobody has ever given feedback, and asking leaves no store behind.
    home = tmp_path / "home"
    without = run_shopwindow(*promote, env={"XDG_DATA_HOME": str(home)})
    assert without.returncode == 0, without.stderr
    assert "on no corrections" in without.stdout
    assert not home.exists()


def test_each_model_has_a_store_of_its_own_which_the_commands_find(
    run_shopwindow: Run, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = {"XDG_DATA_HOME": str(tmp_path / "home")}
    monkeypatch.setenv("XDG_DATA_HOME", home["XDG_DATA_HOME"])
    red, shades = colour_info(), replace(colour_info(), name="shades")
    for info in (red, shades):
        write_colour_bundle(tmp_path / f"{info.name}.onnx", metadata=json.dumps(info.as_json()))
    place = default_place(red)
    place.parent.mkdir(parents=True)
    store.rename(place)
    export = ("feedback", "export", "--all", "out", "--model")
    assert run_shopwindow(*export, f"{red.name}.onnx", env=home).stdout == "out: 1 photo\n"
    assert "found no such file" in assert_one_line(
        run_shopwindow(*export, "shades.onnx", env=home), 2
    )
    named = {**home, "SHOPWINDOW_MODEL": f"{red.name}.onnx"}
    assert run_shopwindow(*export[:-1], env=named).stdout == "out: 1 photo\n"
    both = run_shopwindow(*export, "shades.onnx", "--feedback", place, env=home)
    assert "--model has no effect with --feedback" in assert_one_line(both, 2)
