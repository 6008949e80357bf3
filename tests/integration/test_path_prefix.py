"""The app below a path of somebody's site: every address it gives leads back to it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from shopwindow.errors import UsageError
from shopwindow.feedback.store import FeedbackStore
from shopwindow.inference.predictor import Predictor
from shopwindow.settings import Settings
from shopwindow.web.app import create_app

PASSWORD = "correct-horse-battery-staple"  # noqa: S105


@pytest.fixture
def client(predictor: Predictor, store: FeedbackStore) -> FlaskClient:
    settings = Settings(path_prefix="/our/photos", review_password=PASSWORD)
    return create_app(predictor, settings, store=store).test_client()


def addresses(page: str) -> set[str]:
    """Return the addresses on this site that a page names."""
    named = re.findall(r'(?:href|src|action|data-[a-z-]+)="(/[^"]*)"', page)
    return {address.partition("?")[0] for address in named}


def test_all_addresses_of_all_pages_are_below_the_path(
    client: FlaskClient, image_bytes: Callable[..., bytes]
) -> None:
    answered = client.post(
        "/our/photos/", data={"image-file": (io.BytesIO(image_bytes("red")), "red.png")}
    )
    assert answered.status_code == 200
    pages = [client.get(f"/our/photos{path}").text for path in ("/", "/about", "/docs", "/review")]
    found = {address for page in [answered.text, *pages] for address in addresses(page)}
    assert len(found) > 10
    assert all(address.startswith("/our/photos/") for address in found), found
    for address in found:
        with client.get(address) as response:
            assert response.status_code in (200, 405), address  # forms take only POST


def test_a_proxy_may_remove_the_path(client: FlaskClient) -> None:
    page = client.get("/").text
    assert addresses(page) == addresses(client.get("/our/photos/").text)
    assert client.get("/our/photosx").status_code == 404


def test_the_description_of_the_api_names_the_path(client: FlaskClient) -> None:
    document = client.get("/our/photos/openapi.json").get_json()
    assert document["servers"] == [{"url": "/our/photos"}]
    assert "http://localhost/our/photos/api/v1/predict" in client.get("/our/photos/docs").text


def test_review_stays_below_the_path(client: FlaskClient) -> None:
    token = re.search(r'name="token" value="([^"]+)"', client.get("/our/photos/review").text)
    assert token
    entered = client.post(
        "/our/photos/review/login", data={"token": token[1], "password": PASSWORD}
    )
    assert entered.location == "/our/photos/review"
    assert "Path=/our/photos/review" in entered.headers["Set-Cookie"]
    assert "Log out" in client.get("/our/photos/review").text


@pytest.mark.parametrize(
    ("header", "proxies", "expected"),
    [
        ("/shop", 1, "/shop/"),
        ("/shop/", 1, "/shop/"),
        ("/shop", 0, "/"),
        ("//elsewhere.example", 1, "/"),
        ('/shop"onload=', 1, "/"),
    ],
)
def test_a_path_from_a_header_counts_if_a_trusted_proxy_can_have_set_it(
    predictor: Predictor, header: str, proxies: int, expected: str
) -> None:
    client = create_app(predictor, Settings(trusted_proxies=proxies)).test_client()
    page = client.get("/", headers={"X-Forwarded-Prefix": header}).text
    assert f'action="{expected}"' in page


@pytest.mark.parametrize("path", ["photos", "/photos/", "//photos", "/a b", "https://x.example"])
def test_another_kind_of_path_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="such as /photos"):
        Settings(path_prefix=path)
