"""What an export holds, what it leaves out, and that it forgets what the store has forgotten."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from PIL import Image

from shopwindow.data.dataset import Dataset, load_dataset
from shopwindow.data.label_sets import allowed_labels
from shopwindow.errors import UsageError
from shopwindow.feedback.exporting import Exported, export_feedback
from shopwindow.feedback.feedback import Feedback, Photo, Status
from shopwindow.feedback.store import FeedbackStore
from shopwindow.imaging.preprocess import ResizeRule

Make = Callable[..., Feedback]
Give = Callable[..., Feedback]


def photo(number: int) -> Photo:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20), (number, 50, 50)).save(buffer, "JPEG")
    return Photo(buffer.getvalue())


@pytest.fixture
def give(store: FeedbackStore, make_feedback: Make) -> Give:
    """Return a function that puts a feedback into the store, on a photo of a number, reviewed."""

    def give_it(
        number: int,
        label: str | None,
        status: Status = "accepted",
        *,
        reviewed: str | None = None,
        hours: int = 0,
        column: str = "colour",
        with_photo: bool = True,
    ) -> Feedback:
        one = make_feedback(given=label, photo_sha256=f"{number:064}", column=column)
        store.add(one, photo(number) if with_photo else None)
        at = one.created_at + timedelta(hours=hours)
        store.review(one.id, status, reviewed if status == "changed" else label, at)
        return one

    return give_it


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "corrections.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def load(folder: Path) -> Dataset:
    return load_dataset(
        folder,
        rule=ResizeRule(8, 8, "pad"),
        vocabularies={"label": ("blue", "red")},
        cache_dir=folder / ".cache",
        progress=False,
    )


def test_reviewed_photos_become_a_data_set_with_the_reviewers_label(
    store: FeedbackStore, give: Give, tmp_path: Path
) -> None:
    accepted = give(1, "blue")
    changed = give(2, "blue", "changed", reviewed="red")
    nothing = give(3, None)
    give(4, "blue", "discarded")
    give(5, "blue", "pending")
    give(6, "blue", with_photo=False)
    assert export_feedback(store, tmp_path / "out") == Exported(3, superseded=0, other_columns=0)
    dataset = load(tmp_path / "out")
    allowed = allowed_labels(dataset.codes["label"], dataset.sets["label"])
    found = {
        Path(name).stem: tuple(row)
        for name, row in zip(dataset.references, allowed.tolist(), strict=True)
    }
    assert found == {
        accepted.id: (True, False),
        changed.id: (False, True),
        nothing.id: (False, False),
    }
    assert dataset.dropped == ()
    (row,) = (row for row in rows(tmp_path / "out") if accepted.id in row["image"])
    assert (row["predicted"], row["confidence"], row["status"]) == ("red", "0.700000", "accepted")
    assert (tmp_path / "out" / row["image"]).read_bytes() == photo(1).content


def test_all_includes_unreviewed_but_not_discarded_feedback(
    store: FeedbackStore, give: Give, tmp_path: Path
) -> None:
    give(1, "blue", "pending")
    give(2, "red", "discarded")
    assert export_feedback(store, tmp_path / "out").photos == 0
    assert export_feedback(store, tmp_path / "out", unreviewed=True).photos == 1
    assert [row["label"] for row in rows(tmp_path / "out")] == ["blue"]


def test_latest_feedback_on_a_photo_counts_reviewed_before_unreviewed(
    store: FeedbackStore, give: Give, tmp_path: Path
) -> None:
    give(1, "blue", hours=1)
    give(1, "red", hours=2)
    give(2, "blue", hours=1)
    give(2, "red", "pending", hours=3)
    found = export_feedback(store, tmp_path / "out", unreviewed=True)
    assert found == Exported(2, superseded=2, other_columns=0)
    assert sorted(row["label"] for row in rows(tmp_path / "out")) == ["blue", "red"]
    assert {row["status"] for row in rows(tmp_path / "out")} == {"accepted"}


def test_feedback_on_another_label_column_is_left_out_and_counted(
    store: FeedbackStore, make_feedback: Make, tmp_path: Path
) -> None:
    for number, column in enumerate(("shape", "colour")):
        one = make_feedback(photo_sha256=f"{number:064}", column=column)
        one = replace(one, created_at=one.created_at + timedelta(hours=number))
        store.add(one, photo(number))
        store.review(one.id, "accepted", "red")
    assert export_feedback(store, tmp_path / "out") == Exported(1, superseded=0, other_columns=1)


def test_withdrawn_photo_leaves_the_next_export(
    store: FeedbackStore, give: Give, tmp_path: Path
) -> None:
    first, second = give(1, "blue"), give(2, "red")
    folder = tmp_path / "out"
    export_feedback(store, folder)
    (folder / "images" / "my own note.txt").write_text("stays")
    store.delete(first.id)
    assert export_feedback(store, folder).photos == 1
    assert sorted(path.name for path in (folder / "images").iterdir()) == [
        f"{second.id}.jpeg",
        "my own note.txt",
    ]
    assert load(folder).references == (f"images/{second.id}.jpeg",)


def test_folder_with_other_files_is_refused(
    store: FeedbackStore, give: Give, tmp_path: Path
) -> None:
    give(1, "blue")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("1")
    with pytest.raises(UsageError, match="expected an empty folder or an earlier export"):
        export_feedback(store, tmp_path / "thesis")
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter.txt"]
