"""The configurations in docs/operations.md work, where their programs are installed."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from served import running_app
from shopwindow.inference.predictor import Predictor
from shopwindow.web.app import create_app


@pytest.fixture(scope="module")
def blocks(repository_root: Path) -> dict[str, list[str]]:
    """The code blocks of the page, by language."""
    page = (repository_root / "docs" / "operations.md").read_text("utf-8")
    found: dict[str, list[str]] = {}
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        found.setdefault(language, []).append(block)
    return found


def program(name: str) -> str:
    path = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin")
    if path is None:
        pytest.skip(f"{name} is not installed here: apt-get install {name}")
    return path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def proxy(command: list[str], port: int) -> Iterator[str]:
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=5).close()
                    break
                except OSError:
                    assert process.poll() is None, "the proxy did not start"
                    assert time.monotonic() < deadline
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=60)


def check_behind(url: str, picture: bytes) -> None:
    """The rate limit is 1: the second picture is refused, whatever address the visitor claims."""
    statuses = []
    for number in range(2):
        answer = httpx.post(
            f"{url}/api/v1/predict",
            content=picture,
            headers={"Content-Type": "image/png", "X-Forwarded-For": f"198.51.100.{number}"},
            timeout=60,
        )
        statuses.append(answer.status_code)
    assert statuses == [200, 429]
    assert "Strict-Transport-Security" in answer.headers
    assert len(answer.headers["X-Request-ID"]) >= 32
    assert httpx.get(f"{url}/docs").status_code == 200
    too_large = httpx.post(
        f"{url}/api/v1/predict", content=bytes(10_600_000), headers={"Content-Type": "image/png"}
    )
    assert too_large.status_code in {413, 429}
    assert too_large.headers["Content-Type"] == "application/problem+json"


@pytest.mark.slow
def test_nginx_as_documented_passes_on_visitors_and_not_their_claims(
    blocks: dict[str, list[str]],
    colour_bundle: Path,
    tmp_path: Path,
    image_bytes: Callable[..., bytes],
) -> None:
    nginx, port = program("nginx"), free_port()
    with running_app(colour_bundle, trusted_proxies=1, rate_limit=1) as served:
        site = re.sub(r"^ *ssl_.*\n", "", blocks["nginx"][0], flags=re.MULTILINE)
        site = site.replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
        site = site.replace("http://127.0.0.1:5000", served.url)
        config = tmp_path / "nginx.conf"
        config.write_text(
            f"daemon off; master_process off; pid {tmp_path}/pid; error_log {tmp_path}/error.log;"
            f"events {{}} http {{ access_log off; {temporary_files(tmp_path)} {site} }}"
        )
        with proxy([nginx, "-c", str(config), "-e", f"{tmp_path}/error.log"], port) as url:
            check_behind(url, image_bytes("red"))
            assert httpx.get(f"{url}/metrics").status_code == 200  # from this machine


@pytest.mark.slow
def test_caddy_as_documented_passes_on_visitors_and_not_their_claims(
    blocks: dict[str, list[str]],
    colour_bundle: Path,
    tmp_path: Path,
    image_bytes: Callable[..., bytes],
) -> None:
    caddy, port = program("caddy"), free_port()
    with running_app(colour_bundle, trusted_proxies=1, rate_limit=1) as served:
        site = blocks["caddyfile"][0].replace("shop.example", f"http://127.0.0.1:{port}")
        site = site.replace("127.0.0.1:5000", served.url.removeprefix("http://"))
        config = tmp_path / "Caddyfile"
        config.write_text("{\n    admin off\n}\n" + site)
        command = [caddy, "run", "--config", str(config), "--adapter", "caddyfile"]
        with proxy(command, port) as url:
            check_behind(url, image_bytes("red"))


def test_nginx_as_documented_shows_the_app_below_a_path(
    blocks: dict[str, list[str]], colour_bundle: Path, tmp_path: Path
) -> None:
    nginx, port = program("nginx"), free_port()
    with running_app(colour_bundle, trusted_proxies=1, path_prefix="/photos") as served:
        address = served.url.removesuffix("/photos")
        site = blocks["nginx"][1].replace("http://127.0.0.1:5000", address)
        config = tmp_path / "nginx.conf"
        config.write_text(
            f"daemon off; master_process off; pid {tmp_path}/pid; error_log {tmp_path}/error.log;"
            f"events {{}} http {{ access_log off; {temporary_files(tmp_path)}"
            f"server {{ listen 127.0.0.1:{port}; {site} }} }}"
        )
        with proxy([nginx, "-c", str(config), "-e", f"{tmp_path}/error.log"], port) as url:
            check_below(url)


def test_caddy_as_documented_shows_the_app_below_a_path(
    blocks: dict[str, list[str]], colour_bundle: Path, tmp_path: Path
) -> None:
    caddy, port = program("caddy"), free_port()
    with running_app(colour_bundle, trusted_proxies=1, path_prefix="/photos") as served:
        address = served.url.removesuffix("/photos").removeprefix("http://")
        site = blocks["caddyfile"][1].replace("shop.example", f"http://127.0.0.1:{port}")
        config = tmp_path / "Caddyfile"
        config.write_text("{\n    admin off\n}\n" + site.replace("127.0.0.1:5000", address))
        command = [caddy, "run", "--config", str(config), "--adapter", "caddyfile"]
        with proxy(command, port) as url:
            check_below(url)


def check_below(url: str) -> None:
    """The page and all it loads are found below the path."""
    page = httpx.get(f"{url}/photos/").text
    loaded = re.findall(r'(?:src|rel="stylesheet" href)="(/[^"]+)"', page)
    assert len(loaded) >= 2
    for address in loaded:
        assert httpx.get(url + address).status_code == 200, address
    assert httpx.get(f"{url}/photos", follow_redirects=True).status_code == 200


def temporary_files(folder: Path) -> str:
    """Return where nginx, as somebody who is not root, can keep what it buffers."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)


def test_systemd_takes_the_unit(blocks: dict[str, list[str]], tmp_path: Path) -> None:
    analyze = program("systemd-analyze")
    unit = tmp_path / "shopwindow.service"
    unit.write_text(blocks["ini"][0].replace("/opt/shopwindow/.venv/bin/shopwindow", "/bin/true"))
    completed = subprocess.run(
        [analyze, "verify", str(unit)], capture_output=True, text=True, check=False
    )
    said = [line for line in completed.stderr.splitlines() if "shopwindow" in line]
    assert said == []
    if completed.returncode != 0:
        pytest.skip(f"systemd-analyze cannot work here: {completed.stderr.strip()[:200]}")


def test_every_figure_that_is_documented_exists(
    repository_root: Path, predictor: Predictor
) -> None:
    page = (repository_root / "docs" / "operations.md").read_text("utf-8")
    metrics = create_app(predictor).test_client().get("/metrics").text
    client = create_app(predictor).test_client()
    client.get("/nowhere")
    metrics += client.get("/metrics").text
    named = set(re.findall(r"\b((?:shopwindow|process)_[a-z_]+)(?=[{`\[ ])", page))
    assert len(named) > 10
    for name in named:
        assert f"\n{name}" in metrics or f"# TYPE {name} " in metrics, name
