"""Feedback over the API: what is kept, what is refused, and what a read-only disk does."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask.testing import FlaskClient
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from feedback_server import serving
from shopwindow.bundle import read_bundle
from shopwindow.feedback.feedback import Photo
from shopwindow.feedback.opening import default_place, open_store
from shopwindow.feedback.receipt import Receipts
from shopwindow.feedback.store import FeedbackStore
from shopwindow.imaging.limits import ImageLimits
from shopwindow.inference.predictor import Predictor
from shopwindow.settings import Settings
from shopwindow.web.answers import answer_all
from shopwindow.web.app import create_app
from shopwindow.web.state import app_state
from some_feedback import some_feedback

MakeImage = Callable[..., bytes]
PREDICT, FEEDBACK = "/api/v1/predict", "/api/v1/feedback"


@pytest.fixture
def client(predictor: Predictor, store: FeedbackStore) -> FlaskClient:
    settings = Settings(feedback_keep_days=30, max_upload_bytes=200_000)
    return create_app(predictor, settings, store=store).test_client()


def ask(client: FlaskClient, blob: bytes, **query: Any) -> dict[str, Any]:
    answer = client.post(PREDICT, data=blob, content_type="image/png", query_string=query)
    assert answer.status_code == 200
    entry: dict[str, Any] = answer.json["predictions"][0]  # type: ignore[index]
    return entry


def form(receipt: str, label: str, *images: bytes) -> dict[str, Any]:
    return {
        "receipt": receipt,
        "label": label,
        "image": [(io.BytesIO(image), "x.png") for image in images],
    }


def test_correction_is_kept_with_what_the_model_said(
    client: FlaskClient, store: FeedbackStore, image_bytes: MakeImage, predictor: Predictor
) -> None:
    entry = ask(client, image_bytes((200, 40, 90)), top=1)
    answer = client.post(FEEDBACK, json={"receipt": entry["receipt"], "label": "blue"})
    assert answer.status_code == 201
    taken = answer.json
    assert taken is not None
    assert list(taken) == ["id", "undo", "label", "photo_kept", "kept_until"]
    assert (taken["label"], taken["photo_kept"], taken["kept_until"]) == ("blue", False, None)
    (kept,) = store.items()
    (expected,) = predictor.predict_bytes([image_bytes((200, 40, 90))])
    assert kept.id == taken["id"]
    assert (kept.given, kept.predicted, kept.corrects) == ("blue", expected.label, True)
    assert kept.confidence == pytest.approx(expected.confidence, abs=1e-6)
    assert kept.margin == pytest.approx(
        expected.top[0].confidence - expected.top[1].confidence, abs=2e-6
    )
    assert [one.label for one in kept.top] == [one.label for one in expected.top]
    assert kept.model_sha256 == predictor.bundle.sha256
    assert (kept.column, kept.status, kept.has_photo) == ("colour", "pending", False)
    assert abs(kept.created_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_photo_is_kept_only_when_it_is_sent_and_without_what_a_camera_writes(
    client: FlaskClient, store: FeedbackStore, image_bytes: MakeImage
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    exif[0x010E] = "taken in the kitchen of"
    blob = image_bytes("red", (1600, 800), "JPEG", exif=exif)
    entry = ask(client, blob)
    answer = client.post(FEEDBACK, data=form(entry["receipt"], "red", blob))
    assert answer.status_code == 201
    assert answer.json is not None
    assert answer.json["photo_kept"] is True
    until = datetime.fromisoformat(answer.json["kept_until"])
    assert abs(until - datetime.now(UTC) - timedelta(days=30)) < timedelta(minutes=1)
    photo = store.photo(answer.json["id"])
    assert photo is not None
    assert b"kitchen" not in photo.content
    picture = Image.open(io.BytesIO(photo.content))
    assert (picture.format, picture.size) == ("JPEG", (512, 1024))
    assert picture.getpixel((200, 400))[0] > 250  # type: ignore[index]
    assert not picture.getexif()


def test_preview_of_the_page_without_script_may_be_sent_as_the_photo(
    client: FlaskClient, store: FeedbackStore, image_bytes: MakeImage, predictor: Predictor
) -> None:
    app = client.application
    state = app_state(app)
    with state.batcher.admit() as admission:
        (one,) = answer_all(
            admission,
            [("x.png", image_bytes("red"))],
            top=3,
            limits=ImageLimits(),
            feedback=state.feedback,
        )
    assert one.prediction is not None
    assert one.preview is not None
    assert len(one.prediction.top) == 3
    assert one.receipt is not None
    answer = client.post(FEEDBACK, data=form(one.receipt, "red", one.preview.jpeg))
    assert answer.status_code == 201
    assert [kept.has_photo for kept in store.items()] == [True]


def test_receipt_is_good_for_one_feedback_that_may_be_replaced(
    client: FlaskClient, store: FeedbackStore, image_bytes: MakeImage
) -> None:
    entry = ask(client, image_bytes("red"))
    ids = {
        client.post(FEEDBACK, json={"receipt": entry["receipt"], "label": label}).json["id"]  # type: ignore[index]
        for label in ("blue", "green", "")
    }
    assert len(ids) == 1
    assert [one.given for one in store.items()] == [None]
    store.review(ids.pop(), "accepted", None)
    late = client.post(FEEDBACK, json={"receipt": entry["receipt"], "label": "blue"})
    assert late.status_code == 409
    assert "reviewed already" in late.get_json(force=True)["detail"]


def test_undo_deletes_reviewed_feedback_too(
    client: FlaskClient, store: FeedbackStore, image_bytes: MakeImage
) -> None:
    blob = image_bytes("red")
    answer = client.post(FEEDBACK, data=form(ask(client, blob)["receipt"], "blue", blob)).json
    assert answer is not None
    store.review(answer["id"], "accepted", "blue")
    path = f"{FEEDBACK}/{answer['id']}"
    for token in ("", "x", answer["undo"] + "x", "é"):
        refused = client.delete(path, headers={"X-Undo-Token": token})
        assert refused.status_code == 403
    assert client.delete(path).status_code == 403
    other = client.delete(f"{FEEDBACK}/other", headers={"X-Undo-Token": answer["undo"]})
    assert other.status_code == 403
    gone = client.delete(path, headers={"X-Undo-Token": answer["undo"]})
    assert (gone.status_code, gone.data) == (204, b"")
    assert list(store.items()) == []
    again = client.delete(path, headers={"X-Undo-Token": answer["undo"]})
    assert again.status_code == 404


def test_what_cannot_be_used_is_refused_with_a_sentence(
    client: FlaskClient, store: FeedbackStore, image_bytes: MakeImage
) -> None:
    blob = image_bytes("red")
    receipt = ask(client, blob)["receipt"]
    foreign = Receipts(b"x" * 32)
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({"json": {"receipt": receipt, "label": "pink"}}, 422, "one of the 5 labels of colour"),
        ({"json": {"receipt": receipt[:-1], "label": "red"}}, 422, "classify the photo again"),
        (
            {"json": {"receipt": foreign.sign_undo("x"), "label": "red"}},
            422,
            "not from this server",
        ),
        ({"json": {"receipt": receipt}}, 400, "Expected two strings: 'receipt'"),
        ({"json": {"receipt": receipt, "label": None}}, 400, "Expected two strings: 'receipt'"),
        ({"json": {"receipt": [receipt], "label": "red"}}, 400, "Expected two strings"),
        ({"json": ["receipt"]}, 400, "Expected two strings"),
        ({"json": {"receipt": "\ud800", "label": "red"}}, 422, "not from this"),
        ({"json": {"receipt": receipt, "label": "\ud800"}}, 422, "one of the 5 labels"),
        ({"data": b"[" * 100_000, "content_type": "application/json"}, 400, "Expected two strings"),
        ({"data": b"{", "content_type": "application/json"}, 400, "Expected two strings"),
        ({"data": form(receipt, "red", image_bytes("blue"))}, 422, "not the picture"),
        ({"data": form(receipt, "red", b"")}, 422, "not the picture"),
        ({"data": form(receipt, "red", blob, blob)}, 400, "one image or none, found 2"),
        ({"data": {"label": "red"}}, 400, "Expected two strings"),
        ({"data": blob, "content_type": "image/png"}, 415, "Send a form or JSON"),
        ({"data": form(receipt, "red", bytes(300_000))}, 413, "larger than 200 kB"),
    ]
    for request_parts, status, words in cases:
        answer = client.post(FEEDBACK, **request_parts)
        assert answer.status_code == status, (request_parts, answer.text)
        assert answer.mimetype == "application/problem+json"
        assert words in answer.get_json(force=True)["detail"]
    assert list(store.items()) == []


def test_predicted_label_stays_valid_when_a_later_model_lacks_it(
    predictor: Predictor, store: FeedbackStore, image_bytes: MakeImage
) -> None:
    app = create_app(predictor, store=store)
    (prediction,) = predictor.predict_bytes([image_bytes("red")])
    main = predictor.bundle.info.main.name
    model = ("older", "0.9", "ab" * 32)

    def receipt(column: str, label: str) -> str:
        top = (replace(prediction.top[0], label=label), *prediction.top[1:])
        return Receipts(store.key).sign(
            replace(prediction, label=label, top=top),
            column=column,
            model=model,
            photo_sha256s=["x"],
        )

    client = app.test_client()
    confirmed = client.post(FEEDBACK, json={"receipt": receipt(main, "teal"), "label": "teal"})
    assert confirmed.status_code == 201
    other = client.post(FEEDBACK, json={"receipt": receipt("shape", "red"), "label": "red"})
    assert other.status_code == 422
    assert "Another model is in use now" in other.get_json(force=True)["detail"]


def test_store_that_fails_is_a_503_and_the_answers_go_on(
    client: FlaskClient, store: FeedbackStore, image_bytes: MakeImage, tmp_path: Path
) -> None:
    receipt = ask(client, image_bytes("red"))["receipt"]
    store.close()
    for file in tmp_path.iterdir():
        file.unlink()
    (tmp_path / "feedback.sqlite3").mkdir()
    answer = client.post(FEEDBACK, json={"receipt": receipt, "label": "red"})
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert str(tmp_path) not in answer.text
    assert ask(client, image_bytes("blue"))["label"] == "blue"


def test_without_a_store_there_is_no_receipt_and_no_address(
    predictor: Predictor, image_bytes: MakeImage
) -> None:
    client = create_app(predictor).test_client()
    assert "receipt" not in ask(client, image_bytes("red"))
    answer = client.post(FEEDBACK, json={"receipt": "x", "label": "red"})
    assert answer.status_code == 404
    assert answer.mimetype == "application/problem+json"
    assert FEEDBACK not in client.get("/openapi.json").json["paths"]  # type: ignore[index]
    assert "shopwindow_feedback_on 0.0" in client.get("/metrics").text


def test_receipts_are_signed_with_the_secret_key_if_there_is_one(
    predictor: Predictor, store: FeedbackStore, image_bytes: MakeImage
) -> None:
    by_store = create_app(predictor, store=store).test_client()
    by_secret = create_app(predictor, Settings(secret_key="k" * 32), store=store).test_client()
    receipt = ask(by_secret, image_bytes("red"))["receipt"]
    said = {"receipt": receipt, "label": "red"}
    assert by_store.post(FEEDBACK, json=said).status_code == 422
    assert by_secret.post(FEEDBACK, json=said).status_code == 201


def test_feedback_is_kept_without_its_photo_at_the_limit_of_photos(
    predictor: Predictor, store: FeedbackStore, image_bytes: MakeImage
) -> None:
    client = create_app(predictor, Settings(feedback_max_photos=2), store=store).test_client()
    kept = []
    for colour in ("red", "green", "blue", "red"):
        blob = image_bytes(colour)
        answer = client.post(FEEDBACK, data=form(ask(client, blob)["receipt"], "blue", blob))
        assert answer.status_code == 201
        kept.append(answer.json["photo_kept"])  # type: ignore[index]
    assert kept == [True, True, False, True]  # the last takes the place of the first
    assert store.count() == 4
    assert store.photo_count() == 2


def test_stored_feedback_can_be_replaced_at_the_limit_of_rows(
    predictor: Predictor,
    store: FeedbackStore,
    image_bytes: MakeImage,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = create_app(predictor, Settings(feedback_max_rows=1), store=store).test_client()
    first, second = (ask(client, image_bytes("red"))["receipt"] for _ in range(2))
    assert client.post(FEEDBACK, json={"receipt": first, "label": "blue"}).status_code == 201
    late = client.post(FEEDBACK, json={"receipt": second, "label": "blue"})
    assert late.status_code == 503
    assert "there is no room for more feedback" in late.get_json(force=True)["detail"]
    assert "feedback_max_rows is 1" in caplog.text
    assert 'shopwindow_feedback_total{outcome="full"} 1.0' in client.get("/metrics").text
    assert client.post(FEEDBACK, json={"receipt": first, "label": "green"}).status_code == 201
    assert [one.given for one in store.items()] == ["green"]


def test_feedback_is_counted(client: FlaskClient, image_bytes: MakeImage) -> None:
    blob = image_bytes("red")
    for label in ("red", "blue", "blue", ""):
        last = client.post(FEEDBACK, data=form(ask(client, blob)["receipt"], label, blob)).json
    assert last is not None
    client.delete(f"{FEEDBACK}/{last['id']}", headers={"X-Undo-Token": last["undo"]})
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
        if "feedback" in sample.name
    }
    total = "shopwindow_feedback_total"
    assert [found[total, name] for name in ("confirmed", "corrected", "none", "undone")] == [
        1, 2, 1, 1
    ]  # fmt: skip
    assert found[total, "failed"] == 0
    assert found["shopwindow_feedback_photos_total",] == 4
    assert found["shopwindow_feedback_on",] == 1


def test_server_forgets_old_photos_as_soon_as_it_starts(
    colour_bundle: Path, store: FeedbackStore
) -> None:
    old = some_feedback()
    store.add(old, Photo(b"a photo"), datetime(2020, 1, 1, tzinfo=UTC))
    with serving(colour_bundle, store.where) as (_, process):
        process.terminate()  # which waits for the work under way
        assert process.wait(timeout=60) == 0
    assert store.photo(old.id) is None
    assert store.find(old.id) == old


def test_server_on_a_read_only_disk_serves_with_one_warning_and_no_feedback(
    colour_bundle: Path, image_bytes: MakeImage, tmp_path: Path
) -> None:
    """A process that may not write a byte stands for the disk, as root may write anywhere else."""
    program = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "from shopwindow.cli import main\n"
        "sys.exit(main())"
    )
    command = [sys.executable, "-c", program, "serve", "--model", str(colour_bundle), "--port", "0"]
    environment = os.environ | {"SHOPWINDOW_FEEDBACK": str(tmp_path / "feedback.sqlite3")}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().split("open ")[1].split()[0]
            answer = httpx.post(
                url + PREDICT, content=image_bytes("red"), headers={"Content-Type": "image/png"}
            )
            assert "receipt" not in answer.json()["predictions"][0]
            assert httpx.post(url + FEEDBACK, json={}).status_code == 404
        finally:
            process.terminate()
        warnings = process.communicate(timeout=60)[1].splitlines()
    assert process.returncode == 0
    assert len(warnings) == 1
    assert "Feedback is off: " in warnings[0]
    assert "Set SHOPWINDOW_FEEDBACK to a file or a database that can be written" in warnings[0]


def test_setting_that_makes_no_sense_stops_the_server(colour_bundle: Path) -> None:
    completed = subprocess.run(
        [sys.executable, "-m", "shopwindow", "serve", "--model", colour_bundle, "--port", "0"],
        env=os.environ | {"SHOPWINDOW_FEEDBACK": "mysql://me:pa55word@db/x"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 2
    assert completed.stderr.startswith("shopwindow: feedback: expected a path, off, or a URL")
    assert "pa55word" not in completed.stderr


def test_feedback_goes_to_the_users_own_folder_by_default(
    colour_bundle: Path, image_bytes: MakeImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with serving(colour_bundle, "") as (url, _):
        raw = {"Content-Type": "image/png"}
        entry = httpx.post(url + PREDICT, content=image_bytes("red"), headers=raw).json()
        receipt = entry["predictions"][0]["receipt"]
        taken = httpx.post(url + FEEDBACK, json={"receipt": receipt, "label": "red"})
        assert taken.status_code == 201
    place = default_place(read_bundle(colour_bundle).info)
    assert place.parent == tmp_path / "shopwindow" / "feedback"
    store = open_store(str(place), make=False)
    assert [one.id for one in store.items()] == [taken.json()["id"]]
    store.close()
