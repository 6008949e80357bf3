"""/review: who gets in, what is shown there, and what becomes of a judgement."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from shopwindow.feedback.feedback import Photo
from shopwindow.feedback.store import FeedbackStore
from shopwindow.inference.prediction import LabelScore
from shopwindow.inference.predictor import Predictor
from shopwindow.settings import Settings
from shopwindow.web.app import create_app
from some_feedback import some_feedback

PASSWORD = "correct-horse-battery-staple"  # noqa: S105
MakeClient = Callable[..., FlaskClient]


@pytest.fixture
def make_client(predictor: Predictor, store: FeedbackStore) -> MakeClient:
    def make(**settings: Any) -> FlaskClient:
        told = Settings(**{"review_password": PASSWORD} | settings)
        return create_app(predictor, told, store=store).test_client()

    return make


@pytest.fixture
def client(make_client: MakeClient) -> FlaskClient:
    """Somebody who is logged in."""
    client = make_client()
    assert log_in(client).status_code == 303
    return client


def token(client: FlaskClient) -> str:
    found = re.search(r'name="token" value="([^"]+)"', client.get("/review").text)
    assert found
    return found[1]


def log_in(client: FlaskClient, password: str = PASSWORD, **options: Any) -> TestResponse:
    data = {"token": token(client), "password": password}
    return client.post("/review/login", data=data, **options)


def judge(client: FlaskClient, feedback_id: str, decision: str, **fields: str) -> TestResponse:
    page = client.get("/review").text
    seen = re.search(r'name="given" value="([^"]*)"', page)
    data = {"token": token(client), "decision": decision, "given": seen[1] if seen else ""} | fields
    return client.post(f"/review/{feedback_id}", data=data)


def add(
    store: FeedbackStore,
    image: bytes = b"a photo",
    kept_until: datetime | None = None,
    **changes: Any,
) -> str:
    feedback = some_feedback(**{"given": "blue"} | changes)
    store.add(feedback, Photo(image) if image else None, kept_until)
    return feedback.id


def status_of(store: FeedbackStore, feedback_id: str) -> tuple[str, str | None]:
    found = store.find(feedback_id)
    assert found is not None
    return found.status, found.reviewed


def test_without_a_password_it_stays_closed_and_says_what_to_set(make_client: MakeClient) -> None:
    client = make_client(review_password="")
    for answer in (client.get("/review"), client.post("/review/login", data={"password": ""})):
        assert answer.status_code == 403
        assert "set SHOPWINDOW_REVIEW_PASSWORD" in answer.text


def test_without_a_store_there_is_no_such_page(predictor: Predictor) -> None:
    client = create_app(predictor, Settings(review_password=PASSWORD)).test_client()
    assert client.get("/review").status_code == 404


def test_password_opens_it_and_nothing_else_does(
    make_client: MakeClient, store: FeedbackStore
) -> None:
    feedback_id = add(store, kept_until=datetime(2027, 1, 31, tzinfo=UTC))
    client = make_client()
    closed = ["/review", "/review/figures", f"/review/photo/{feedback_id}"]
    for path in closed:
        assert "colours" not in client.get(path).text
        assert b"a photo" not in client.get(path).data
    for wrong in ("", PASSWORD + "x", PASSWORD[:-1], "pässword"):
        refused = log_in(client, wrong)
        assert refused.status_code == 403
        assert "This password is wrong." in refused.text
    assert judge(client, feedback_id, "accept").status_code == 303
    assert status_of(store, feedback_id) == ("pending", None)
    assert log_in(client).location == "/review"
    assert "colours" in client.get("/review").text
    assert "the photo is kept until 2027-01-31" in client.get("/review").text
    photo = client.get(closed[2])
    assert (photo.data, photo.mimetype) == (b"a photo", "image/jpeg")
    assert photo.headers["Cache-Control"] == "no-store"
    client.post("/review/logout", data={"token": token(client)})
    assert client.get(closed[2]).status_code == 303


def test_cookie_is_for_this_page_of_this_site_alone(make_client: MakeClient) -> None:
    client = make_client(trusted_proxies=1)
    plain = log_in(client).headers["Set-Cookie"]
    for part in ("HttpOnly", "SameSite=Strict", "Path=/review", "Expires="):
        assert part in plain
    assert "Secure" not in plain
    secure = make_client(trusted_proxies=1)
    https = {"headers": {"X-Forwarded-Proto": "https"}, "base_url": "https://localhost"}
    found = re.search(r'name="token" value="([^"]+)"', secure.get("/review", **https).text)
    assert found
    data = {"token": found[1], "password": PASSWORD}
    assert "Secure" in secure.post("/review/login", data=data, **https).headers["Set-Cookie"]
    assert "Set-Cookie" not in make_client().get("/").headers


def test_another_password_ends_every_session(make_client: MakeClient) -> None:
    client = make_client()
    log_in(client)
    cookie = client.get_cookie("shopwindow-review", path="/review")
    assert cookie is not None
    for password, status in ((PASSWORD, 200), (PASSWORD + "-2", 303)):
        other = make_client(review_password=password)
        other.set_cookie("shopwindow-review", cookie.value, path="/review")
        assert other.get("/review/figures").status_code == status


def test_copied_cookie_is_invalid_once_its_owner_has_logged_out(
    make_client: MakeClient,
) -> None:
    client, thief = make_client(), make_client()
    log_in(client)
    cookie = client.get_cookie("shopwindow-review", path="/review")
    assert cookie is not None
    thief.set_cookie("shopwindow-review", cookie.value, path="/review")
    assert thief.get("/review/figures").status_code == 200
    assert client.post("/review/logout", data={"token": token(client)}).status_code == 303
    assert thief.get("/review/figures").status_code == 303
    assert "password" in thief.get("/review").text
    assert log_in(client).status_code == 303
    assert client.get("/review/figures").status_code == 200
    assert thief.get("/review/figures").status_code == 303


def test_form_of_another_site_does_nothing(client: FlaskClient, store: FeedbackStore) -> None:
    feedback_id = add(store)
    for forged in ("", "x", "é"):
        data = {"token": forged, "decision": "discard"}
        assert client.post(f"/review/{feedback_id}", data=data).status_code == 400
    assert client.post("/review/logout").status_code == 400
    assert status_of(store, feedback_id) == ("pending", None)


def test_token_from_before_the_login_is_invalid_after_it(make_client: MakeClient) -> None:
    client = make_client()
    planted = token(client)
    log_in(client)
    assert client.post("/review/logout", data={"token": planted}).status_code == 400


@pytest.mark.parametrize("told", [{}, {"X-Forwarded-For": "unknown"}, {"Forwarded": "proto=https"}])
def test_wrong_passwords_of_strangers_lock_nobody_out_where_addresses_are_unknown(
    make_client: MakeClient, told: dict[str, str]
) -> None:
    client = make_client(trusted_proxies=1)
    assert {log_in(client, "wrong", headers=told).status_code for _ in range(12)} == {403}
    assert log_in(client, headers=told).status_code == 303


def test_attempts_are_limited_for_each_client(make_client: MakeClient) -> None:
    client = make_client()
    statuses = [log_in(client, "wrong").status_code for _ in range(12)]
    assert statuses == [403] * 10 + [429] * 2
    late = log_in(client)
    assert late.status_code == 429
    assert int(late.headers["Retry-After"]) > 0
    elsewhere = {"environ_base": {"REMOTE_ADDR": "192.0.2.7"}}
    assert log_in(client, **elsewhere).status_code == 303


def test_reviewer_is_not_slowed_down_by_the_limit_of_pictures(
    make_client: MakeClient, store: FeedbackStore
) -> None:
    client = make_client(rate_limit=1)
    log_in(client)
    ids = [add(store) for _ in range(3)]
    assert [judge(client, one, "accept").status_code for one in ids] == [303] * 3


@pytest.mark.parametrize(
    ("decision", "fields", "expected"),
    [
        ("accept", {}, ("accepted", "blue")),
        ("change", {"label": "green"}, ("changed", "green")),
        ("change", {"label": ""}, ("changed", None)),
        ("change", {"label": "blue"}, ("accepted", "blue")),
        ("discard", {}, ("discarded", None)),
    ],
)
def test_decision_is_recorded_and_can_be_undone(
    client: FlaskClient,
    store: FeedbackStore,
    decision: str,
    fields: dict[str, str],
    expected: tuple[str, str | None],
) -> None:
    feedback_id, other = add(store, margin=0.9), add(store, margin=0.1)
    answer = judge(client, feedback_id, decision, **fields)
    assert answer.status_code == 303
    assert status_of(store, feedback_id) == expected
    after = client.get(answer.location).text
    assert f"/review/photo/{other}" in after
    assert "Undo" in after
    assert judge(client, feedback_id, "reopen").status_code == 303
    assert status_of(store, feedback_id) == ("pending", None)


def test_feedback_that_its_sender_has_changed_is_not_accepted_unseen(
    client: FlaskClient, store: FeedbackStore
) -> None:
    feedback_id = add(store)
    found = store.find(feedback_id)
    assert found is not None
    store.add(replace(found, given=None), Photo(b"a photo"))
    answer = judge(client, feedback_id, "accept", given="blue")
    assert answer.status_code == 409
    assert "has changed this feedback" in answer.text
    assert status_of(store, feedback_id) == ("pending", None)
    assert judge(client, feedback_id, "accept", given="").status_code == 303
    assert status_of(store, feedback_id) == ("accepted", None)


def test_later_shows_the_next_and_at_the_end_the_first_again(
    client: FlaskClient, store: FeedbackStore
) -> None:
    first, second = add(store, margin=0.9), add(store, margin=0.1)
    after = client.get(judge(client, first, "later", skip="0").location).text
    assert f"/review/photo/{second}" in after
    assert "1 left for later" in after
    end = client.get(judge(client, second, "later", skip="1").location).text
    assert "2 left for later" in end
    assert judge(client, second, "accept", skip="1").location.startswith("/review?skip=1&done=")


def test_invalid_decision_is_refused(client: FlaskClient, store: FeedbackStore) -> None:
    feedback_id = add(store)
    assert judge(client, feedback_id, "praise").status_code == 400
    assert judge(client, feedback_id, "change", label="pink").status_code == 422
    assert judge(client, "0" * 32, "accept").status_code == 404
    assert client.get("/review/photo/x").status_code == 404
    assert client.get("/review?skip=x&done=x").status_code == 200
    assert client.get(f"/review?skip={'9' * 30}").status_code == 200
    assert status_of(store, feedback_id) == ("pending", None)


def test_what_visitors_made_up_is_text_and_nothing_else(
    client: FlaskClient, store: FeedbackStore
) -> None:
    evil = "<script>alert(1)</script>"
    add(store, given=evil, predicted=evil, top=(LabelScore(evil, 0.7),))
    add(store, b"", given=evil)
    for path in ("/review", "/review/figures"):
        answer = client.get(path)
        assert "&lt;script&gt;" in answer.text
        assert "<script>" not in answer.text
        assert "style=" not in answer.text
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]


def test_figures_are_shown(client: FlaskClient, store: FeedbackStore) -> None:
    add(store, given="red", created_at=datetime(2026, 11, 18, 23, 59, tzinfo=UTC))
    add(store, b"", given=None)
    page = client.get("/review/figures").text
    for words in ("2026-11-16", "colours 1.0", "None of these", "50\u202f%"):
        assert words in page


def test_figures_of_nothing_are_no_error(client: FlaskClient) -> None:
    assert "Nobody has given feedback yet." in client.get("/review/figures").text


def test_store_that_fails_is_a_503(
    client: FlaskClient, store: FeedbackStore, tmp_path: Path
) -> None:
    store.close()
    for file in tmp_path.iterdir():
        file.unlink()
    (tmp_path / "feedback.sqlite3").mkdir()
    answer = client.get("/review/figures")
    assert answer.status_code == 503
    assert "cannot be used right now" in answer.text
    assert str(tmp_path) not in answer.text


def test_decisions_and_logins_are_counted(client: FlaskClient, store: FeedbackStore) -> None:
    judge(client, add(store), "discard")
    text = client.get("/metrics").text
    assert 'shopwindow_reviews_total{outcome="discarded"} 1.0' in text
    assert 'shopwindow_review_logins_total{outcome="in"} 1.0' in text
    assert 'shopwindow_review_logins_total{outcome="wrong"} 0.0' in text
