"""A store that cannot be opened when the server starts is taken as soon as it can be."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx

# As `shopwindow serve` does, but looking for the store more often.
_PROGRAM = """
import sys
from pathlib import Path
from shopwindow.inference.predictor import load_predictor
from shopwindow.settings import Settings
from shopwindow.web.server import serve
serve.RETRY_FEEDBACK_S = 0.05
serve.serve(load_predictor(Path(sys.argv[1]), threads=1), Settings(port=0, feedback=sys.argv[2]))
"""
_FEEDBACK_ON = "shopwindow_feedback_on "


def test_feedback_is_accepted_once_its_store_is_there_without_a_restart(
    colour_bundle: Path, image_bytes: Callable[..., bytes], tmp_path: Path
) -> None:
    folder = tmp_path / "mounted-later"
    folder.touch()  # where a folder is expected
    command = [sys.executable, "-c", _PROGRAM, str(colour_bundle), str(folder / "f.sqlite3")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            url = "http://" + server.stdout.readline().split("http://")[1].split()[0]
            with httpx.Client(base_url=url, timeout=30) as client:

                def ask() -> dict[str, str]:
                    sent = {"content": image_bytes("red"), "headers": {"Content-Type": "image/png"}}
                    answer: dict[str, str] = client.post("/api/v1/predict", **sent).json()[
                        "predictions"
                    ][0]
                    return answer

                def figure(name: str) -> float:
                    lines = client.get("/metrics").text.splitlines()
                    return float(next(x for x in lines if x.startswith(name)).split()[-1])

                assert "receipt" not in ask()
                assert client.post("/api/v1/feedback", data={}).status_code == 404
                assert figure(_FEEDBACK_ON) == 0
                folder.unlink()
                until = time.monotonic() + 30
                while "receipt" not in (answer := ask()):
                    assert time.monotonic() < until, "it was not opened"
                taken = client.post(
                    "/api/v1/feedback", data={"receipt": answer["receipt"], "label": "blue"}
                )
                assert taken.status_code == 201, taken.text
                assert figure(_FEEDBACK_ON) == 1
                # The figures of before go on.
                assert figure("shopwindow_batch_images_count") > 1
                assert client.get("/review").status_code == 403  # no password is set
        finally:
            server.terminate()
        _, errors = server.communicate(timeout=20)
    assert server.returncode == 0
    first, last = errors.splitlines()
    assert "Feedback is off: " in first
    assert "The server tries again every" in first
    assert "Feedback is now on" in last
