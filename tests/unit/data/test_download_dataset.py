"""Downloads by the real kagglehub, from a server of our own in the place of Kaggle's."""

from __future__ import annotations

import io
import json
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from shopwindow.data.download import download_dataset
from shopwindow.errors import DownloadError, MissingExtraError, UsageError

NAME = "fashion-product-images-small"
KAGGLE_TEST_PORT = 7777  # what kagglesdk calls when KAGGLE_API_ENVIRONMENT is TEST


def archive(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            file.writestr(name, "id,articleType\n")
    return buffer.getvalue()


class Kaggle(ThreadingHTTPServer):
    """Answers the two calls of a download: which version there is, and its archive."""

    archive = b""
    status = 200

    def __init__(self) -> None:
        super().__init__(("localhost", KAGGLE_TEST_PORT), Answer)


class Answer(BaseHTTPRequestHandler):
    server: Kaggle

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.status != 200:
            self.answer("text/plain", b"closed", self.server.status)
        elif self.path.endswith("/GetDataset"):
            content = {"ref": f"paramaggarwal/{NAME}", "currentVersionNumber": 1}
            self.answer("application/json", json.dumps(content).encode())
        else:
            self.answer("application/zip", self.server.archive)

    def answer(self, content_type: str, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Send kagglehub to localhost, without anybody's account."""
    pytest.importorskip("kagglehub", reason="kagglehub is not installed")
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "home"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "hub"))
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def kaggle(no_account: None) -> Iterator[Kaggle]:
    try:
        server = Kaggle()
    except OSError as error:
        pytest.skip(f"port {KAGGLE_TEST_PORT} is taken: {error}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_data_set_is_fetched_and_unpacked(kaggle: Kaggle, tmp_path: Path) -> None:
    kaggle.archive = archive("styles.csv", "images/1.jpg")
    out = tmp_path / "data" / NAME
    assert download_dataset(NAME, out) == out
    assert (out / "styles.csv").read_text() == "id,articleType\n"
    assert (out / "images" / "1.jpg").is_file()
    assert list(out.parent.iterdir()) == [out]


def test_what_is_there_already_is_not_fetched_again(tmp_path: Path, no_account: None) -> None:
    (tmp_path / "styles.csv").write_text("mine")
    assert download_dataset(NAME, tmp_path) == tmp_path
    assert (tmp_path / "styles.csv").read_text() == "mine"


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (b"", 403, "403"),
        (b"no archive", 200, "Unsupported archive type"),
        (archive("readme.txt"), 200, "the download holds no styles.csv"),
    ],
)
def test_failure_says_how_to_get_it_by_hand_and_leaves_nothing(
    kaggle: Kaggle, tmp_path: Path, content: bytes, status: int, reason: str
) -> None:
    kaggle.archive, kaggle.status = content, status
    out = tmp_path / "data" / NAME
    with pytest.raises(DownloadError) as caught:
        download_dataset(NAME, out)
    message = str(caught.value)
    assert reason in message
    assert f"https://www.kaggle.com/datasets/paramaggarwal/{NAME}" in message
    assert message.endswith(f"shopwindow train {out} --label-column articleType")
    assert "\n" not in message
    assert list(out.parent.iterdir()) == []


def test_no_connection_says_how_to_get_it_by_hand(no_account: None, tmp_path: Path) -> None:
    # Nobody listens on the port.
    with pytest.raises(DownloadError, match=r"could not be downloaded .*Get it by hand"):
        download_dataset(NAME, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_unknown_name_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"Unknown data set 'shoes': expected {NAME}"):
        download_dataset("shoes", tmp_path)


def test_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds something else"):
        download_dataset(NAME, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_missing_kagglehub_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(MissingExtraError, match=r"\[download\]'"):
        download_dataset(NAME, tmp_path / "data")


def test_data_set_comes_into_the_empty_folder_that_one_is_in(
    kaggle: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kaggle.archive = archive("styles.csv", "images/1.jpg")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    download_dataset(NAME, Path())
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["images", "styles.csv"]
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []
