"""How to read a data set, as a command, a bundle and a training say it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from shopwindow.data.spec import DataSpec
from shopwindow.errors import DataError


def test_what_a_bundle_records_makes_the_same_spec_again(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("id,kind,colour,sender\n")
    (tmp_path / "more.csv").write_text("id,kind\n")
    spec = DataSpec(
        tmp_path,
        tmp_path / "labels.csv",
        image_column="id",
        label_column="kind",
        also=("colour",),
        label_map={"a": ("b", "c"), "d": (), "e": None},
        group_column="sender",
        min_images=3,
    )
    record = json.loads(json.dumps(spec.as_json()))
    assert record["labels"] == "labels.csv", "a name, for a bundle travels to other machines"
    assert DataSpec.from_record(tmp_path, {"read": record}) == replace(spec, is_recorded=True)


def test_options_of_a_command_name_the_fields_and_other_things(tmp_path: Path) -> None:
    (tmp_path / "map.json").write_text('{"a": ["b"]}')
    options = {"data": tmp_path, "label_map": tmp_path / "map.json", "also": ("x",), "epochs": 3}
    assert DataSpec.from_options(options) == DataSpec(
        tmp_path, label_map={"a": ("b",)}, also=("x",)
    )
    with pytest.raises(DataError, match="cannot be read"):
        DataSpec.from_options(options | {"label_map": tmp_path / "gone.json"})
