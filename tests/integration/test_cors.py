"""Pages of sites that are named may call the API, and no others."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from shopwindow.errors import UsageError
from shopwindow.inference.predictor import Predictor
from shopwindow.settings import Settings
from shopwindow.web.app import create_app

SHOP, KEY = "https://shop.example", "a-key-for-programs-only"
ALLOW = "Access-Control-Allow-Origin"


@pytest.fixture
def client(predictor: Predictor) -> FlaskClient:
    settings = Settings(cors_origins=f"{SHOP}, http://localhost:3000", api_key=KEY)
    return create_app(predictor, settings).test_client()


def preflight(client: FlaskClient, origin: str, path: str = "/api/v1/predict") -> TestResponse:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    return client.options(path, headers=asked)


def test_a_browser_may_ask_without_the_key(client: FlaskClient) -> None:
    response = preflight(client, SHOP)
    assert response.status_code == 204
    assert response.headers[ALLOW] == SHOP
    assert "Authorization" in response.headers["Access-Control-Allow-Headers"]
    assert "DELETE" in response.headers["Access-Control-Allow-Methods"]
    assert "Access-Control-Allow-Credentials" not in response.headers


def test_the_page_reads_answers_and_refusals(client: FlaskClient) -> None:
    headers = {"Origin": SHOP, "Authorization": f"Bearer {KEY}"}
    allowed = client.get("/api/v1/model", headers=headers)
    refused = client.get("/api/v1/model", headers={"Origin": SHOP})
    assert (allowed.status_code, refused.status_code) == (200, 401)
    for response in (allowed, refused):
        assert response.headers[ALLOW] == SHOP
        assert response.headers["Vary"] == "Origin"
        assert response.headers["Cross-Origin-Resource-Policy"] == "cross-origin"


@pytest.mark.parametrize("origin", ["https://shop.example.evil", "https://SHOP.example", "null"])
def test_other_sites_get_nothing(client: FlaskClient, origin: str) -> None:
    assert preflight(client, origin).status_code == 401
    response = client.get("/api/v1/model", headers={"Origin": origin})
    assert ALLOW not in response.headers
    assert response.headers["Vary"] == "Origin"
    assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_the_page_and_the_review_are_never_shared(client: FlaskClient) -> None:
    headers = {"Origin": SHOP, "Authorization": f"Bearer {KEY}"}
    for path in ("/", "/about", "/review"):
        assert ALLOW not in client.get(path, headers=headers).headers, path
        assert preflight(client, SHOP, path).status_code == 401


def test_without_the_setting_nothing_is_shared(predictor: Predictor) -> None:
    client = create_app(predictor).test_client()
    assert ALLOW not in preflight(client, SHOP).headers
    assert "Vary" not in client.get("/api/v1/model", headers={"Origin": SHOP}).headers


@pytest.mark.parametrize(
    "origins", ["*", "null", "shop.example", "https://shop.example/", "https://a b"]
)
def test_what_is_no_origin_is_refused(origins: str) -> None:
    with pytest.raises(UsageError, match="cors_origins: expected addresses such as"):
        Settings(cors_origins=origins)
