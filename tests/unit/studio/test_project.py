"""A project on disk: what a change leaves there, and what is found after a kill."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from shopwindow.data.catalogue import read_catalogue
from shopwindow.data.spec import DataSpec
from shopwindow.errors import StudioConflictError, StudioError, UsageError
from shopwindow.studio import journal
from shopwindow.studio.journal import Row
from shopwindow.studio.project import Project

OpenProject = Callable[[], Project]


def table(project: Project) -> str:
    return (project.folder / "labels.csv").read_text("utf-8")


def test_table_names_each_photo_and_is_what_a_training_reads(project: Project) -> None:
    project.change({"a.jpg": Row("hat"), "b.jpg": Row("=shoe, left")}, "Label")
    assert table(project).splitlines() == [
        "image,label",
        "photos/a.jpg,hat",
        'photos/b.jpg,"\'=shoe, left"',
        "photos/c.jpg,",
    ]
    (project.folder / "runs" / "studio-1").mkdir(parents=True)
    (project.folder / "runs" / "studio-1" / "curves.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    read = read_catalogue(DataSpec(project.folder))
    assert read.references == ["photos/a.jpg", "photos/b.jpg"]
    assert read.labels["label"] == ["hat", "=shoe, left"]
    assert ("photos/c.jpg", "no label") in [(row.reference, row.reason) for row in read.dropped]


def test_groups_get_a_column_once_there_is_one(project: Project) -> None:
    project.change({"a.jpg": Row("hat", "burst 1")}, "Label")
    assert table(project).splitlines()[:2] == ["image,label,group", "photos/a.jpg,hat,burst 1"]


def test_photos_that_lie_in_the_folder_are_found(project: Project) -> None:
    assert project.rows == {"a.jpg": Row(), "b.jpg": Row(), "c.jpg": Row()}


def test_undo_and_redo_go_through_all_changes_also_after_closing(
    project: Project, open_project: OpenProject
) -> None:
    project.change({"a.jpg": Row("hat")}, "first")
    project.change({"b.jpg": None, "a.jpg": Row("shoe")}, "second")
    assert not project.photo("b.jpg").exists()
    again = open_project()
    assert again.undoable is not None
    assert again.undoable.did == "second"
    again.undo()
    assert (again.rows["a.jpg"], again.photo("b.jpg").read_bytes()) == (Row("hat"), b"b.jpg")
    again = open_project()
    again.undo()
    assert again.rows["a.jpg"] == Row()
    again.redo()
    again.redo()
    assert again.redo() is None
    assert again.rows == {"a.jpg": Row("shoe"), "c.jpg": Row()}
    assert not again.photo("b.jpg").exists()


def test_change_after_undo_ends_what_could_be_redone(project: Project) -> None:
    project.change({"a.jpg": Row("hat")}, "first")
    project.undo()
    project.change({"a.jpg": Row("shoe")}, "other")
    assert project.redoable is None


def test_change_that_was_noted_but_not_done_is_not_taken_for_done(
    project: Project, open_project: OpenProject
) -> None:
    project.change({"a.jpg": Row("hat")}, "first")
    before = (project.folder / "labels.csv").read_bytes()
    project.change({"a.jpg": Row("shoe")}, "killed")
    (project.folder / "labels.csv").write_bytes(before)
    again = open_project()
    assert again.undoable is not None
    assert again.undoable.did == "first"
    assert again.rows["a.jpg"] == Row("hat")


def test_journal_that_was_cut_off_keeps_what_is_whole(
    project: Project, open_project: OpenProject
) -> None:
    project.change({"a.jpg": Row("hat")}, "first")
    with (project.hidden / "journal.jsonl").open("ab") as file:
        file.write(b'{"did": "second", "bef')
    again = open_project()
    assert again.undoable is not None
    assert again.undoable.did == "first"


def test_oldest_changes_are_forgotten_where_there_are_too_many(
    project: Project, open_project: OpenProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MOST_ROWS", 5)
    for label in ("one", "two", "three"):
        project.change({"a.jpg": Row(label), "b.jpg": Row(label)}, label)
    for _ in range(2):
        assert project.undo() is not None
        assert project.undo() is not None
        assert project.undo() is None
        assert project.rows["a.jpg"] == Row("one")
        project.redo()
        project.redo()
        project = open_project()


def test_photo_in_the_trash_that_the_table_still_names_comes_back(
    project: Project, open_project: OpenProject
) -> None:
    project.change({"a.jpg": Row("hat")}, "label")
    project.trash.mkdir(exist_ok=True)
    project.photo("a.jpg").rename(project.trash / "a.jpg")  # killed before the table was written
    again = open_project()
    assert again.rows["a.jpg"] == Row("hat")
    assert again.photo("a.jpg").exists()


def test_row_without_a_photo_stays_in_the_table(
    project: Project, open_project: OpenProject
) -> None:
    project.change({"a.jpg": Row("hat")}, "label")
    project.photo("a.jpg").unlink()
    again = open_project()
    assert again.missing == {"a.jpg": Row("hat")}
    again.change({"b.jpg": Row("shoe")}, "label")
    assert "photos/a.jpg,hat" in table(again)


def test_table_changed_by_hand_is_read_again_and_never_overwritten(project: Project) -> None:
    with (project.folder / "labels.csv").open("a") as file:
        file.write("photos/new.jpg,cap\n")
    project.photo("new.jpg").write_bytes(b"new")
    with pytest.raises(StudioConflictError, match="another program"):
        project.change({"a.jpg": Row("hat")}, "label")
    assert project.rows["new.jpg"] == Row("cap")
    project.change({"a.jpg": Row("hat")}, "label")
    assert "photos/new.jpg,cap" in table(project)


@pytest.mark.parametrize(
    "line", ["photos/a.jpg,hat,more,cells", "photos/a.jpg,A|B", 'photos/a.jpg,"open', "\0"]
)
def test_table_that_a_hand_broke_is_left_alone_and_loses_no_label(
    project: Project, line: str
) -> None:
    project.change({"a.jpg": Row("hat"), "b.jpg": Row("shoe")}, "label")
    good = table(project)
    broken = good.replace("photos/a.jpg,hat", line)
    for _ in range(2):  # also when it was seen before
        (project.folder / "labels.csv").write_text(broken, "utf-8")
        with pytest.raises(StudioError, match="cannot be read"):
            project.change({"c.jpg": Row("cap")}, "label")
        assert table(project) == broken
        assert project.rows["b.jpg"] == Row("shoe")
    (project.folder / "labels.csv").unlink()
    project.change({"c.jpg": Row("cap")}, "label")
    assert table(project) == good.replace("photos/c.jpg,", "photos/c.jpg,cap")
    assert project.undo() is not None
    (project.folder / "labels.csv").write_bytes(b"")
    with pytest.raises(StudioError, match="found nothing"):
        project.undo()


def test_deleted_cache_loses_nothing_but_history(
    project: Project, open_project: OpenProject
) -> None:
    project.change({"a.jpg": Row("hat")}, "label")
    project.close()
    for path in sorted(project.hidden.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    project.hidden.rmdir()
    again = open_project()
    assert (again.rows["a.jpg"], again.undoable) == (Row("hat"), None)


def test_name_of_a_deleted_photo_is_not_given_again(
    project: Project, open_project: OpenProject
) -> None:
    project.change({"a.jpg": None}, "delete")
    assert project.new_name("a.jpg", "JPEG") == "a-2.jpg"
    assert open_project().new_name("A.jpg", "JPEG") == "A-2.jpg"


def test_full_disk_changes_nothing(project: Project, open_project: OpenProject) -> None:
    names = [f"{number:0100}.jpg" for number in range(100)]
    for name in names:
        project.photo(name).touch()
    rows = "".join(f"photos/{name},hat\n" for name in names)
    (project.folder / "labels.csv").write_text(f"image,label\n{rows}")
    project.close()
    (project.hidden / "journal.jsonl").unlink()
    project = open_project()
    before = table(project)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, unlimited[1]))  # room for the journal alone
    try:
        with pytest.raises(OSError, match="File too large"):
            project.change({names[0]: None, names[1]: Row("cap")}, "delete")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert (table(project), project.photo(names[0]).exists()) == (before, True)
    assert project.rows[names[1]] == Row("hat")
    project.change({names[2]: None}, "delete")
    assert project.undo() is not None
    assert table(project).count("hat") == 100


def test_second_studio_on_a_folder_is_refused_in_one_sentence(project: Project) -> None:
    with pytest.raises(UsageError, match=r"another studio \(process \d+\)"):
        Project(project.folder)


@pytest.mark.parametrize("name", ["cat/1.jpg", "notes.txt"])
def test_folder_with_other_things_is_not_taken_for_a_project(tmp_path: Path, name: str) -> None:
    path = tmp_path / "mine" / name
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(UsageError, match="expected a project of the studio"):
        Project(tmp_path / "mine")
    assert [*(tmp_path / "mine").iterdir()] == [tmp_path / "mine" / name.split("/")[0]]


@pytest.mark.parametrize(
    "text", ["file,kind\na.jpg,hat\n", "image,label\na.jpg\n", 'image,label\n"']
)
def test_table_of_another_kind_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(UsageError, match=r"labels\.csv: expected"):
        Project(tmp_path)
    assert (tmp_path / "labels.csv").read_text() == text
