"""What people do in the studio, alone, together and again; through a real server."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from studio_server import Page, studio

# A colour each, so that no two are duplicates.
COLOURS = ["red", "green", "blue", "black", "white", "orange", "purple", "cyan"]


def photo(colour: str, format_: str = "PNG") -> bytes:
    out = io.BytesIO()
    image = Image.new("RGB", (80, 60), colour)
    image.paste("grey", (10, 10, 30, 20))
    image.save(out, format_)
    return out.getvalue()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, Path]]:
    folder = tmp_path_factory.mktemp("studio") / "colours"
    with studio(folder) as page:
        yield page, folder


@pytest.fixture
def page(server: tuple[Page, Path]) -> Page:
    """A studio with eight photos and nothing else, each with a name that none had before."""
    page, _ = server
    if ids := page.get("photos")["ids"]:
        page.post("photos/delete", ids=ids)
    page.add([(f"{colour}.png", photo(colour)) for colour in COLOURS])
    return page


@pytest.fixture
def rows(server: tuple[Page, Path]) -> Callable[[], dict[str, str]]:
    """Return what the table on disk says now."""
    _, folder = server

    def read() -> dict[str, str]:
        with (folder / "labels.csv").open(newline="") as table:
            return {
                row["image"].removeprefix("photos/"): row["label"] for row in csv.DictReader(table)
            }

    return read


def test_label_is_on_disk_when_the_answer_comes(
    page: Page, rows: Callable[[], dict[str, str]]
) -> None:
    ids = page.get("photos")["ids"]
    done = page.post("labels", ids=ids[:3], label=" warm ")
    assert (done["changed"], done["undo"]) == (3, "Label 3 photos warm")
    assert [rows()[name] for name in ids] == ["warm"] * 3 + [""] * 5
    page.post("labels", ids=ids[:1], label=None)
    assert rows()[ids[0]] == ""


def test_labels_are_renamed_merged_and_deleted(
    page: Page, rows: Callable[[], dict[str, str]]
) -> None:
    ids = page.get("photos")["ids"]
    page.post("labels", ids=ids[:4], label="warm")
    page.post("labels", ids=ids[4:], label="cold")
    renamed = page.post("labels/rename", **{"from": "warm", "to": "hot"})
    assert (renamed["changed"], renamed["merged"], renamed["others"]) == (4, False, 0)
    merged = page.post("labels/rename", **{"from": "cold", "to": "hot"})
    assert (merged["changed"], merged["merged"]) == (4, True)
    assert set(rows().values()) == {"hot"}
    page.post("labels/delete", label="hot")
    assert set(rows().values()) == {""}
    assert page.send("labels/delete", label="hot").status_code == 422


def test_everything_can_be_undone_and_done_again(
    page: Page, rows: Callable[[], dict[str, str]], server: tuple[Page, Path]
) -> None:
    ids = page.get("photos")["ids"]
    page.post("labels", ids=ids, label="a")
    page.post("photos/delete", ids=ids[:2])
    page.post("labels/rename", **{"from": "a", "to": "b"})
    after = rows()
    for did in ("Rename a to b", "Delete 2 photos", "Label 8 photos a", "Add 8 photos"):
        assert page.get("state")["undo"] == did
        assert page.post("undo")["did"] == did
    assert rows() == {}
    assert page.get("photos")["ids"] == []
    for _ in range(4):
        page.post("redo")
    assert rows() == after
    assert page.send("redo").status_code == 422
    folder = server[1]
    assert {path.name for path in (folder / "photos").iterdir()} == set(after)


def test_two_people_never_overwrite_each_other_unseen(
    page: Page, rows: Callable[[], dict[str, str]]
) -> None:
    ids = page.get("photos")["ids"]
    seen = page.get("state")["revision"]
    page.post("labels", ids=ids[:2], label="mine", revision=seen)
    for path, fields in (("labels", {"label": "yours"}), ("photos/delete", {})):
        refused = page.send(path, ids=ids[1:3], revision=seen, **fields)
        assert refused.status_code == 409
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert refused.json()["conflicts"] == [{"id": ids[1], "label": "mine"}]
    assert page.send("undo", revision=seen).status_code == 409
    assert (rows()[ids[1]], rows()[ids[2]]) == ("mine", "")
    assert page.send("labels", ids=ids[2:4], label="yours", revision=seen).status_code == 200
    page.post("labels", ids=ids[1:3], label="yours", revision=seen, force=True)
    assert rows()[ids[1]] == "yours"
    renamed = page.post("labels/rename", **{"from": "mine", "to": "ours", "revision": seen})
    assert renamed["others"] == 1


def test_photo_that_somebody_deleted_is_a_conflict(page: Page) -> None:
    ids = page.get("photos")["ids"]
    page.post("photos/delete", ids=ids[:1])
    refused = page.send("labels", ids=ids, label="a")
    assert refused.status_code == 409
    assert refused.json()["conflicts"] == [{"id": ids[0], "label": None}]


def test_page_learns_what_changed_and_nothing_else(page: Page) -> None:
    page.wait(lambda state: state["project"]["reading"] == 0)
    ids = page.get("photos")["ids"]
    before = page.get("state")
    page.post("labels", ids=ids[2:3], label="a")
    page.post("photos/delete", ids=ids[:1])
    news = page.get("photos", since=before["version"])
    assert (news["all"], news["ids"], news["removed"]) == (False, [ids[2]], [ids[0]])


def test_folders_of_an_archive_become_labels(
    page: Page, rows: Callable[[], dict[str, str]]
) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("set/warm/1.png", photo("gold"))
        archive.writestr("set/../../cold/1.png", photo("navy"))
        archive.writestr("set/readme.txt", "hello")
    answer = page.add([("set.zip", out.getvalue())])
    assert answer["added"] == ["1.png", "1-2.png"]
    assert (rows()["1.png"], rows()["1-2.png"]) == ("warm", "cold")
    assert [refused["name"] for refused in answer["refused"]] == ["set/readme.txt"]


def test_folder_that_comes_again_labels_what_has_no_label(
    page: Page, rows: Callable[[], dict[str, str]]
) -> None:
    content = photo("teal")
    page.add([("half.png", content)])  # as a crash in the middle of a folder leaves it
    for label in ("first", "second"):
        answer = page.add([("half.png", content)], label=label)
        assert answer["duplicates"] == [{"name": "half.png", "of": "half.png"}]
        assert rows()["half.png"] == "first"


def test_burst_is_a_group_in_the_table(page: Page, server: tuple[Page, Path]) -> None:
    ids = page.get("photos")["ids"]
    page.add([("x1.png", photo("gold")), ("x2.png", photo("navy"))], label="a", group="burst 7")
    with (server[1] / "labels.csv").open(newline="") as table:
        groups = {row["image"]: row["group"] for row in csv.DictReader(table)}
    assert groups["photos/x1.png"] == groups["photos/x2.png"] == "burst 7"
    assert groups[f"photos/{ids[0]}"] == ""


def test_table_sets_the_labels_of_photos_that_it_names(
    page: Page, rows: Callable[[], dict[str, str]]
) -> None:
    red, green, blue, *_ = page.get("photos")["ids"]
    table = f"image,label\nfolder/{red},warm\n{Path(blue).stem.upper()},cold\n"
    table += f"none.png,cold\n{green},a|b\n"
    answer = page.client.post(
        "/studio/api/table", files={"file": ("mine.csv", table.encode())}
    ).json()
    assert (answer["changed"], answer["unknown"]) == (2, ["none.png"])
    assert [refused["name"] for refused in answer["refused"]] == [green]
    assert (rows()[red], rows()[blue]) == ("warm", "cold")
    refused = page.client.post("/studio/api/table", files={"file": ("mine.csv", b"a,b\n1,2\n")})
    assert refused.status_code == 422
    assert refused.json()["detail"].endswith("columns image and label (it has a, b).")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("labels", {"ids": ["red.png"]}, 400),
        ("labels", {"ids": [], "label": "a", "revision": 1}, 400),
        ("labels", {"ids": ["red.png"], "label": 3, "revision": 1}, 400),
        ("labels", {"ids": ["red.png"], "label": "a|b", "revision": 1}, 422),
        ("labels/rename", {"from": "none", "to": "b", "revision": 1}, 422),
        ("versions", {"promote": True}, 422),
        ("versions/studio-9/promote", {}, 422),
        ("versions/..%2F..%2Fx/promote", {}, 404),
        ("rollback", {}, 422),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(
    page: Page, path: str, body: dict[str, object], status: int
) -> None:
    refused = page.client.post(f"/studio/api/{path}", json=body)
    assert refused.status_code == status, refused.text
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.json()["detail"].endswith(".")


def test_without_a_model_a_try_says_what_is_missing(page: Page) -> None:
    page.wait(lambda state: state["model"]["status"] == "empty")
    refused = page.client.post("/studio/api/try", files={"image": photo("red")})
    assert refused.status_code == 422
    assert "label photos of at least two things" in refused.json()["detail"]


def test_table_edited_elsewhere_is_told(page: Page, server: tuple[Page, Path]) -> None:
    ids = page.get("photos")["ids"]
    table = server[1] / "labels.csv"
    table.write_text(table.read_text().replace(f"photos/{ids[0]},", f"photos/{ids[0]},theirs", 1))
    refused = page.send("labels", ids=ids, label="mine")
    assert refused.status_code == 409
    assert "another program" in refused.json()["detail"]
    assert page.photos()[ids[0]][0] == "theirs"
    page.post("labels", ids=ids, label="mine")


def test_page_that_waits_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with studio(tmp_path / "project") as page, ThreadPoolExecutor(1) as pool:
        state = page.wait(lambda state: state["model"]["status"] == "empty")
        waits = pool.submit(page.get, "state", since=state["version"] + 10**6, wait=25)
        page.get("photos")  # the server has read the other request by now, or reads it next
        page.process.terminate()
        assert page.process.wait(timeout=9) == 0
        waits.exception()
