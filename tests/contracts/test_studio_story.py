"""The studio from the first photo to the window and back, with real photos and a real server."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import call_main

from shopwindow.bundle import read_bundle
from studio_server import Page, studio

Photos = dict[str, list[tuple[str, bytes]]]
KINDS = ("Pants", "Shoes", "T-Shirt")


@pytest.fixture(scope="module")
def photos(phone_photos: Path) -> Photos:
    """24 photos of each of three things."""
    found: Photos = {kind: [] for kind in KINDS}
    with (phone_photos / "images.csv").open(newline="") as table:
        for row in csv.DictReader(table):
            if len(found.get(row["label"], range(24))) < 24:
                path = phone_photos / "images" / f"{row['image']}.jpg"
                if path.exists():
                    found[row["label"]].append((path.name, path.read_bytes()))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studio") / "clothes"


@pytest.fixture(scope="module")
def page(folder: Path, photos: Photos) -> Iterator[Page]:
    """A studio with 15 photos of each thing."""
    with studio(folder) as page:
        for kind in KINDS:
            page.add(photos[kind][:15], label=kind)
        page.wait_for_model()
        yield page


def test_photos_lie_in_the_folder_byte_for_byte(page: Page, folder: Path, photos: Photos) -> None:
    for kind in KINDS:
        for name, content in photos[kind][:15]:
            assert (folder / "photos" / name).read_bytes() == content
    with (folder / "labels.csv").open(newline="") as table:
        assert [row["label"] for row in csv.DictReader(table)].count("Shoes") == 15


def test_model_knows_photos_that_it_has_not_seen(page: Page, photos: Photos) -> None:
    state = page.wait_for_model()
    low, high = state["model"]["interval"]
    assert low <= state["model"]["accuracy"] <= high
    assert state["model"]["accuracy"] > 0.9
    right = 0
    for kind in KINDS:
        for _, content in photos[kind][20:]:
            answer = page.client.post("/studio/api/try", files={"image": content})
            (entry,) = answer.raise_for_status().json()["predictions"]
            assert {"label", "confidence", "sure", "top", "words", "heatmap"} <= set(entry)
            right += entry["label"] == kind
    assert right >= 11


def test_labels_of_the_confirmed_are_guessed_out_of_fold_and_of_others_by_the_model(
    page: Page, photos: Photos
) -> None:
    added = page.add(photos["Shoes"][15:18])["added"]
    page.wait(lambda _: all(page.photos()[name][1] for name in added))
    known = page.photos()
    assert [known[name] for name in added].count(("", "Shoes")) >= 2
    page.post("labels", ids=added, label="Shoes")
    page.wait_for_model()


def test_same_photo_again_is_reported_and_not_taken(page: Page, photos: Photos) -> None:
    name, content = photos["Pants"][0]
    answer = page.add([("again.jpg", content), ("note.txt", b"hello"), ("half.jpg", content[:500])])
    assert answer["added"] == []
    assert answer["duplicates"] == [{"name": "again.jpg", "of": name}]
    assert [refused["name"] for refused in answer["refused"]] == ["note.txt", "half.jpg"]
    assert all(refused["why"].endswith(".") for refused in answer["refused"])


def test_wrong_label_is_found(page: Page) -> None:
    wrong = next(
        name for name, (label, guess) in page.photos().items() if label == guess == "Shoes"
    )
    page.post("labels", ids=[wrong], label="Pants")
    state = page.wait(lambda state: bool(page.get("model")["doubts"]))
    (doubt, *_) = page.get("model")["doubts"]
    assert (doubt["id"], doubt["label"], doubt["guess"]) == (wrong, "Pants", "Shoes")
    columns = page.get("photos")
    assert columns["doubt"][columns["ids"].index(wrong)] == 1
    page.post("doubts/dismiss", ids=[wrong])
    assert wrong not in [doubt["id"] for doubt in page.get("model")["doubts"]]
    assert page.post("undo")["did"] == state["undo"]
    page.wait_for_model()


def test_window_takes_a_version_and_the_next_one_and_goes_back(
    page: Page, folder: Path, photos: Photos
) -> None:
    assert page.get("state")["window"] is None
    first = page.post("versions", promote=True, note="the first")["version"]
    assert page.send("versions", promote=True).status_code == 409  # one at a time
    job = page.wait_for_job()
    assert (job["status"], job["sentence"]) == ("done", f"{first} is in the window.")
    served = page.client.get("/api/v1/model").json()
    assert served["name"] == "clothes"
    content = photos["Shoes"][-1][1]
    answer = page.client.post("/api/v1/predict", files={"image": content}).json()
    assert answer["predictions"][0]["label"] == "Shoes"
    assert page.send("rollback").status_code == 422

    page.add(photos["Pants"][15:20], label="Pants")
    page.wait_for_model()
    second = page.post("versions", promote=True)["version"]
    assert page.wait_for_job()["sentence"] == f"{second} is in the window."
    versions = page.get("versions")
    new, old = versions["versions"]
    assert (new["in_window"], old["in_window"], old["note"]) == (True, False, "the first")
    assert new["gate"]["against"] == first
    assert new["gate"]["images"] == 53  # those of the first by its out-of-fold answers
    assert new["gate"]["objections"] == []
    assert versions["can_roll_back"]

    assert page.post("rollback")["window"]["version"] == first
    assert page.client.get("/api/v1/model").json()["sha256"] == served["sha256"]
    assert page.post(f"versions/{second}/promote")["window"]["version"] == second


def test_button_writes_what_a_training_writes(page: Page, folder: Path, tmp_path: Path) -> None:
    state = page.wait_for_model()
    version = page.post("versions", promote=False)["version"]
    page.wait_for_job()
    done = call_main(tmp_path, "train", folder, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    button = read_bundle(folder / "runs" / version / "model.onnx")
    trained = read_bundle(tmp_path / "run" / "model.onnx")
    assert button.info.main == trained.info.main
    assert button.info.quality == trained.info.quality
    assert button.info.threshold == trained.info.threshold
    assert state["model"]["accuracy"] == pytest.approx(button.info.quality["accuracy"], abs=0.03)
    downloaded = page.client.get(f"/studio/versions/{version}/model.onnx")
    assert downloaded.content == button.model
    assert "attachment" in downloaded.headers["Content-Disposition"]


def test_project_comes_as_one_archive(page: Page, folder: Path) -> None:
    content = page.client.get("/studio/project.zip").raise_for_status().content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        names = set(archive.namelist())
        assert archive.read("clothes/labels.csv") == (folder / "labels.csv").read_bytes()
    assert names == {"clothes/labels.csv", "clothes/model.onnx"} | {
        f"clothes/photos/{path.name}" for path in (folder / "photos").iterdir()
    }


def test_pictures_are_made_once_and_kept_by_browsers(page: Page) -> None:
    state = page.get("state")
    name = page.get("photos")["ids"][0]
    small = page.client.get(state["thumbnail"].replace("{id}", name))
    assert small.headers["Content-Type"] == "image/jpeg"
    assert "immutable" in small.headers["Cache-Control"]
    large = page.client.get(state["preview"].replace("{id}", name))
    assert len(large.content) >= len(small.content)
    assert page.client.get(state["thumbnail"].replace("{id}", "none.jpg")).status_code == 404


def test_everything_is_there_again_after_a_restart(
    page: Page, folder: Path, photos: Photos
) -> None:
    before, window = page.photos(), page.get("state")["window"]
    features = next((folder / ".studio").glob("features-*.bin"))
    size = features.stat().st_size
    page.process.terminate()
    assert page.process.wait(timeout=30) == 0
    with studio(folder) as again:
        state = again.wait_for_model()
        labels = {name: label for name, (label, _) in again.photos().items()}
        assert labels == {name: label for name, (label, _) in before.items()}
        assert features.stat().st_size == size  # nothing was read twice
        assert state["window"] == window
        assert again.client.get("/api/v1/model").json()["sha256"] == window["sha256"]
