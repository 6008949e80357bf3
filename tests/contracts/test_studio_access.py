"""Who reaches the studio, and who does not."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Run, assert_one_line
from PIL import Image

from studio_server import Page, running, studio

PASSWORD = "correct-horse-battery-staple"  # noqa: S105
READS = [
    *("/studio/api/state", "/studio/api/photos", "/studio/api/model", "/studio/api/versions"),
    *("/studio/photos/red.png/thumbnail", "/studio/photos/red.png/preview"),
    *("/studio/project.zip", "/studio/versions/studio-1/model.onnx"),
]
CHANGES = ["labels", "photos", "photos/delete", "undo", "versions", "rollback", "try", "table"]


def photo() -> tuple[str, bytes]:
    out = io.BytesIO()
    Image.new("RGB", (80, 60), "red").save(out, "PNG")
    return "red.png", out.getvalue()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A studio on this machine, without a password."""
    with studio(tmp_path_factory.mktemp("studio") / "project") as page:
        page.add([photo()])
        yield page


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """`shopwindow serve` with a studio; nobody has logged in."""
    folder = tmp_path_factory.mktemp("studio") / "project"
    (folder / "photos").mkdir(parents=True)
    (folder / "photos" / "red.png").write_bytes(photo()[1])
    told = {"STUDIO": str(folder), "REVIEW_PASSWORD": PASSWORD, "FEEDBACK": "off", "THREADS": "1"}
    environment = {f"SHOPWINDOW_{name}": value for name, value in told.items()}
    command = [sys.executable, "-m", "shopwindow", "serve", "--port", "0"]
    with running(command, environment) as page:
        yield page


def log_in(page: Page, password: str) -> int:
    page.open()
    token = page.client.headers["X-CSRF-Token"]
    answer = page.client.post("/studio/login", data={"token": token, "password": password})
    page.open()
    return answer.status_code


@pytest.mark.parametrize("path", [*READS, "/studio"])
@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"X-Forwarded-For": "192.0.2.1"}, {"Forwarded": "for=192.0.2.1"}],
)
def test_without_a_password_it_is_for_this_machine_by_its_own_name(
    page: Page, path: str, headers: dict[str, str]
) -> None:
    assert page.client.get(path, headers=headers).status_code == 403


@pytest.mark.parametrize("change", CHANGES)
def test_other_site_cannot_change_anything(page: Page, change: str) -> None:
    for token in ("", "wrong"):
        answer = page.client.post(
            f"/studio/api/{change}", json={"ids": []}, headers={"X-CSRF-Token": token}
        )
        assert answer.status_code == 400
        assert "reload the studio" in answer.json()["detail"]


def test_asking_for_the_headers_alone_needs_no_token(page: Page) -> None:
    assert page.client.head("/studio/project.zip", headers={"X-CSRF-Token": ""}).status_code == 200


def test_page_may_use_the_camera_and_nothing_from_elsewhere(page: Page) -> None:
    headers = page.client.get("/studio").headers
    assert "camera=(self)" in headers["Permissions-Policy"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "camera=()" in page.client.get("/").headers["Permissions-Policy"]


def test_behind_a_password_nothing_is_shown_or_changed_without_it(closed: Page) -> None:
    assert log_in(closed, "wrong") == 403
    for path in READS:
        answer = closed.client.get(path)
        assert answer.status_code == (401 if path.startswith("/studio/api/") else 303), path
        assert b"red" not in answer.content.replace(b"redirect", b"")
    for change in CHANGES:
        assert closed.client.post(f"/studio/api/{change}", json={}).status_code in (400, 401)
    assert 'type="password"' in closed.client.get("/studio").text


def test_password_opens_it_until_somebody_logs_out(closed: Page) -> None:
    assert log_in(closed, PASSWORD) == 303
    cookie = next(cookie for cookie in closed.client.cookies.jar if "studio" in cookie.name)
    assert (cookie.path, cookie.has_nonstandard_attr("HttpOnly")) == ("/studio", True)
    assert closed.get("photos")["ids"] == ["red.png"]
    assert closed.client.get("/studio/photos/red.png/preview").status_code == 200
    token = closed.client.headers["X-CSRF-Token"]
    assert closed.client.post("/studio/logout", data={"token": token}).status_code == 303
    assert closed.client.get("/studio/photos/red.png/preview").status_code == 303


def test_public_page_needs_no_password_beside_it(closed: Page) -> None:
    assert closed.client.get("/").status_code == 200


def test_guesses_of_the_password_are_limited(tmp_path: Path) -> None:
    with studio(tmp_path / "project", review_password=PASSWORD) as page:
        codes = [log_in(page, f"wrong-{number}-wrong-wrong") for number in range(11)]
        assert codes == [403] * 10 + [429]


def test_without_studio_there_is_no_such_address(page: Page, colour_bundle: Path) -> None:
    command = [sys.executable, "-m", "shopwindow", "serve", "--model", str(colour_bundle)]
    with running([*command, "--port", "0"], {"SHOPWINDOW_FEEDBACK": "off"}) as plain:
        assert plain.client.get("/studio").status_code == 404
        assert plain.client.get("/studio/api/state").status_code == 404


@pytest.mark.parametrize("extra", [["--host", "0.0.0.0"], []])  # noqa: S104
def test_for_others_it_never_starts_without_a_password(
    run_shopwindow: Run, extra: list[str]
) -> None:
    proxies = {} if extra else {"SHOPWINDOW_TRUSTED_PROXIES": "1"}
    done = run_shopwindow("studio", "project", *extra, env=proxies)
    assert "SHOPWINDOW_REVIEW_PASSWORD" in assert_one_line(done, 2)
    done = run_shopwindow("serve", env={"SHOPWINDOW_STUDIO": "on"})
    assert "SHOPWINDOW_REVIEW_PASSWORD" in assert_one_line(done, 2)


def test_model_has_no_effect_beside_a_studio(run_shopwindow: Run, colour_bundle: Path) -> None:
    told = {"SHOPWINDOW_STUDIO": "on", "SHOPWINDOW_REVIEW_PASSWORD": PASSWORD}
    done = run_shopwindow("serve", "--model", colour_bundle, env=told)
    assert "has no effect" in assert_one_line(done, 2)


def test_two_studios_on_one_machine_do_not_take_each_others_cookies(
    page: Page, tmp_path: Path
) -> None:
    with studio(tmp_path / "other") as other:
        page.client.cookies.update(other.client.cookies)  # a browser keeps them by host, not port
        assert page.post("labels", ids=["red.png"], label="warm")["changed"] == 1


def test_second_studio_on_a_folder_is_refused(tmp_path: Path, run_shopwindow: Run) -> None:
    with studio(tmp_path / "project"):
        done = run_shopwindow("studio", "project", "--port", "0")
    assert "another studio (process" in assert_one_line(done, 2)
