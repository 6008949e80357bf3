"""Who is let in, how often, and that a proxy cannot be impersonated."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from shopwindow.inference.predictor import Predictor
from shopwindow.settings import Settings
from shopwindow.web import security
from shopwindow.web.app import create_app
from shopwindow.web.clients import Clients
from shopwindow.web.security import RateLimit

KEY = "correct-horse-battery-staple"
PREDICT = "/api/v1/predict"


@pytest.fixture
def locked(predictor: Predictor) -> FlaskClient:
    return create_app(predictor, Settings(api_key=KEY)).test_client()


@pytest.mark.parametrize(
    "given",
    [
        None,
        "Bearer ",
        "Bearer wrong",
        f"Bearer {KEY}x",
        f"Token {KEY}",
        "Bearer schlüssel",
        f"Basic {KEY}",
        f"bearer{KEY}",
    ],
)
def test_request_without_the_key_is_a_401_problem_that_says_how(
    locked: FlaskClient, given: str | None
) -> None:
    headers = {"Authorization": given} if given else {}
    for path in ("/api/v1/model", "/api/nowhere", "/metrics", "/openapi.json"):
        answer = locked.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.mimetype == "application/problem+json"
        assert "Authorization: Bearer" in answer.get_json(force=True)["detail"]
        assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
        assert KEY not in answer.text


def test_key_opens_the_api_and_the_page(locked: FlaskClient) -> None:
    assert (
        locked.get("/api/v1/model", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
    )
    assert locked.get("/", auth=("anyone", KEY)).status_code == 200
    assert locked.get("/api/v1/model", auth=("", KEY)).status_code == 200


def test_browser_without_the_key_is_asked_for_a_password(locked: FlaskClient) -> None:
    answer = locked.get("/", headers={"Accept": "text/html,*/*;q=0.8"})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    assert "type it as the password" in answer.text


def test_probes_and_assets_need_no_key(locked: FlaskClient) -> None:
    for path in ("/health/live", "/health/ready", "/static/app.css"):
        assert locked.get(path, buffered=True).status_code == 200


def test_client_over_the_limit_hears_when_to_retry(
    predictor: Predictor, image_bytes: Callable[..., bytes]
) -> None:
    client = create_app(predictor, Settings(rate_limit=2)).test_client()
    ask = {"data": image_bytes("red"), "content_type": "image/png"}
    assert [client.post(PREDICT, **ask).status_code for _ in range(3)] == [200, 200, 429]
    refused = client.post(PREDICT, **ask)
    assert 1 <= int(refused.headers["Retry-After"]) <= 30
    assert refused.mimetype == "application/problem+json"
    assert "At most 2 requests a minute" in refused.get_json(force=True)["detail"]
    page = client.post("/", data={})
    assert page.status_code == 429
    assert "Retry-After" in page.headers
    assert 'id="image-error"' in page.text
    assert "At most 2 requests a minute" in page.text
    assert client.get("/").status_code == 200
    assert client.get("/?example=none").status_code == 429, "which would make the model run too"
    # Who has sent many photos may still say what they show.
    assert client.post("/api/v1/feedback", json={}).status_code != 429
    other = client.post(PREDICT, **ask, environ_base={"REMOTE_ADDR": "192.0.2.7"})
    assert other.status_code == 200


@pytest.mark.parametrize(
    ("proxies", "forwarded", "limited"),
    [
        (0, ("198.51.100.1", "198.51.100.2"), True),  # nobody wrote that but the client
        (1, ("198.51.100.1", "198.51.100.2"), False),
        # What the client claims comes first; the proxy appends the address that it saw.
        (1, ("203.0.113.1, 198.51.100.1", "203.0.113.2, 198.51.100.1"), True),
        (2, ("203.0.113.1, 198.51.100.1", "203.0.113.1, 198.51.100.2"), True),
        (1, ("198.51.100.1:51234", "198.51.100.2:51234"), False),
        (1, ("198.51.100.1:51234", "198.51.100.1:51235"), True),
        (1, ("_hidden", "_secret"), False),  # RFC 7239 allows such names
        (1, ("_hidden", "_hidden"), True),
        # What no two visitors can be told apart by must not lock all of them out.
        (1, ("unknown", "unknown"), False),
        (1, ("unix:", "unix:"), False),
        (2, ("198.51.100.1", "198.51.100.1"), False),
    ],
)
def test_forwarded_address_counts_only_as_far_as_proxies_are_trusted(
    predictor: Predictor, proxies: int, forwarded: tuple[str, str], limited: bool
) -> None:
    settings = Settings(rate_limit=1, trusted_proxies=proxies)
    client = create_app(predictor, settings).test_client()
    statuses = [
        client.post(PREDICT, headers={"X-Forwarded-For": addresses}).status_code
        for addresses in forwarded
    ]
    assert statuses == [415, 429 if limited else 415]


def test_credit_comes_back_evenly_and_is_never_more_than_a_minute_of_it() -> None:
    now = [1000.0]
    limit = RateLimit(60, clock=lambda: now[0])
    assert [limit.take("a") for _ in range(60)] == [0.0] * 60
    assert limit.take("a") == pytest.approx(1)
    assert limit.take("b") == 0
    now[0] += 1
    assert limit.take("a") == 0
    assert limit.take("a") > 0
    now[0] += 3600
    assert sum(limit.take("a") == 0 for _ in range(100)) == 60


def test_memory_for_clients_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "MAX_CLIENTS", 100)
    now = [0.0]
    limit = RateLimit(1, clock=lambda: now[0])
    for number in range(1000):
        limit.take(str(number))
    assert len(limit._whole_again_s) == 100
    now[0] += 61
    limit.take("later")
    assert list(limit._whole_again_s) == ["later"]


def client_of(proxies: int, **headers: str) -> str | None:
    """Return the client of a request from the proxy 192.0.2.200."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Clients(proxies).client_of("192.0.2.200", named.get)


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::"),
        ("203.0.113.7:51234", "203.0.113.7"),
        ("::ffff:203.0.113.7:51234", "203.0.113.7"),
        ("[2001:db8:1:2::1]:443", "2001:db8:1:2::"),
        ("[2001:db8:1:2::1]", "2001:db8:1:2::"),
        ('"[2001:db8:1:2::1]"', "2001:db8:1:2::"),
        ('"[2001:db8:1:2::1]:443"', "2001:db8:1:2::"),
        ("2001:db8:1:2:3:4:5:6:51234", "2001:db8:1:2::"),
        ("2001:db8:1:2::1:51234", "2001:db8:1:2::"),
        ("_hidden:443", "_hidden"),
        ("unknown", None),
        ("unix:", None),
        ("shop.example:80", None),
        ("", None),
        (None, None),
    ],
)
def test_one_line_is_one_client(address: str | None, client: str | None) -> None:
    assert Clients(0).client_of(address, {}.get) == client
    assert client_of(1, X_Forwarded_For=address or "") == client


@pytest.mark.parametrize(
    ("proxies", "forwarded_for", "client"),
    [
        (1, "203.0.113.1, 198.51.100.1", "198.51.100.1"),
        (2, "203.0.113.1, 198.51.100.1", "203.0.113.1"),
        (1, "198.51.100.1, ", "198.51.100.1"),  # RFC 9110: empty parts are none
        (2, "203.0.113.1,, ,198.51.100.1:443", "203.0.113.1"),
        # A quote that a client opens hides nothing.
        (1, '", 198.51.100.1', "198.51.100.1"),
        (1, '"203.0.113.1, [2001:db8:1:2::1]:443', "2001:db8:1:2::"),
        (3, "203.0.113.1, 198.51.100.1", None),
        (1, "198.51.100.1, unknown", None),
    ],
)
def test_the_proxys_own_entry_counts(proxies: int, forwarded_for: str, client: str | None) -> None:
    assert client_of(proxies, X_Forwarded_For=forwarded_for) == client


@pytest.mark.parametrize(
    ("proxies", "forwarded", "client"),
    [
        (1, "for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
        (1, 'For="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::"),
        (1, "for=192.0.2.43, for=198.51.100.17", "198.51.100.17"),
        (2, 'for="192.0.2.43:47011";proto=https, for=198.51.100.17', "192.0.2.43"),
        (1, "proto=https; for=_SEVKISEK", "_SEVKISEK"),
        (1, "for=unknown", None),
        (1, "proto=https", None),
    ],
)
def test_forwarded_of_rfc_7239_is_read(proxies: int, forwarded: str, client: str | None) -> None:
    assert client_of(proxies, Forwarded=forwarded) == client


def test_forwarded_is_not_believed_beside_the_header_that_the_proxy_wrote() -> None:
    both = {"Forwarded": "for=203.0.113.9", "X_Forwarded_For": "198.51.100.1"}
    assert client_of(1, **both) == "198.51.100.1"


@pytest.mark.parametrize(
    ("proxies", "headers", "words"),
    [
        (
            1,
            {"X-Forwarded-For": "secret.example"},
            "trusted_proxies is 1, but a request came with no address",
        ),
        (2, {"X-Forwarded-For": "198.51.100.1"}, "too few entries in X-Forwarded-For"),
        (1, {}, "too few entries in X-Forwarded-For"),
        (0, {"X-Forwarded-For": "198.51.100.1"}, "set trusted_proxies"),
    ],
)
def test_unknown_address_is_logged_once_and_without_the_header(
    proxies: int, headers: dict[str, str], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    clients = Clients(proxies)
    for _ in range(3):
        clients.client_of("192.0.2.200", headers.get)
    (record,) = caplog.records
    assert words in record.getMessage()
    assert "secret" not in record.getMessage()
    assert "198.51" not in record.getMessage()
