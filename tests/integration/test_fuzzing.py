"""A minute of fuzzing in CI: decoding and the multipart path, from the corpus where it is there.

Whatever comes in, the answer is pixels or one of our errors, a 200 or a 4xx with a sentence.
"""

from __future__ import annotations

import csv
import io
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisWarning
from PIL import Image

import heic_files
from heic_files import WRITTEN_FORMATS
from shopwindow.errors import ImageError
from shopwindow.imaging.decode import decode_image
from shopwindow.imaging.limits import ImageLimits
from shopwindow.inference.predictor import Predictor
from shopwindow.settings import Settings
from shopwindow.web.app import create_app

pytestmark = pytest.mark.slow

SECONDS_EACH = 20
MAX_CPU_S = 2.0

_UNBOUNDED = settings(
    max_examples=1_000_000,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)

# An edit: at which part of the file, what is done, and with what.
EDITS = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.sampled_from(["flip", "cut", "double", "insert", "zero", "number"]),
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=6,
)


class TimeIsUp(Exception):  # noqa: N818
    """The way out of hypothesis when the minute is over."""


def edited(seed: bytes, edits: list[tuple[float, str, bytes]]) -> bytes:
    data = bytearray(seed)
    for share, how, content in edits:
        # Most of what breaks a parser is in the first bytes.
        at = int(share**3 * len(data))
        if how == "flip":
            data[at : at + len(content)] = content
        elif how == "cut":
            del data[at:]
        elif how == "double":
            data[at:at] = data[at : at + 64 * len(content)]
        elif how == "insert":
            data[at:at] = content
        elif how == "zero":
            data[at : at + 4] = bytes(4)
        else:
            data[at : at + 4] = (b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f")[
                content[0] % 3
            ]
    return bytes(data)


@pytest.fixture(scope="module")
def seeds(request: pytest.FixtureRequest, repository_root: Path) -> list[bytes]:
    """Small files of the corpus, or some of our own where it is not on this machine."""
    made = [getattr(heic_files, name) for name in ("PLAIN", "CLEAR", "TWO", "GRID", "TURNED")]
    for format_ in WRITTEN_FORMATS:
        for mode in ("RGB", "L", "1"):
            buffer = io.BytesIO()
            Image.effect_noise((24, 16), 80).convert(mode).save(buffer, format_)
            made.append(buffer.getvalue())
    if not (repository_root.parent / "shared" / "data" / "hostile-images.tar.xz").is_file():
        return made
    folder: Path = request.getfixturevalue("hostile_images")
    with (folder / "INDEX.csv").open(newline="") as file:
        names = [row["file"] for row in csv.DictReader(file)]
    contents = [(folder / name).read_bytes() for name in names]
    return made + [content for content in contents if len(content) < 50_000]


def fuzz(test: Callable[..., None], *strategies: st.SearchStrategy[object]) -> None:
    """Run a test on examples until its time is up; a failure shows its example, not shrunk."""
    end = time.monotonic() + SECONDS_EACH

    @_UNBOUNDED
    @given(st.tuples(*strategies))
    def until_time_is_up(values: tuple[object, ...]) -> None:
        test(*values)
        if time.monotonic() > end:
            raise TimeIsUp

    with warnings.catch_warnings():
        # Time may be up at an example of many kilobytes, which hypothesis would rather not print.
        warnings.simplefilter("ignore", HypothesisWarning)
        with pytest.raises(TimeIsUp):
            until_time_is_up()


def test_decoding_gives_pixels_or_one_of_our_errors(seeds: list[bytes]) -> None:
    limits = ImageLimits(max_pixels=1_000_000, max_frames=1_000)  # counted, and hardly ever refused

    def check(seed: bytes, edits: list[tuple[float, str, bytes]]) -> None:
        data = edited(seed, edits)
        start = time.process_time()
        refused = None
        try:
            assert decode_image(data, limits=limits).shape[2] == 3
        except ImageError as error:
            refused = error
        assert refused is None or str(refused).endswith(".")
        assert refused is None or not isinstance(refused.__cause__, Warning)
        assert time.process_time() - start < MAX_CPU_S

    fuzz(check, st.sampled_from(seeds), EDITS)


@pytest.fixture(scope="module")
def app(predictor: Predictor) -> Flask:
    return create_app(predictor, Settings(max_pixels=1_000_000, max_upload_bytes=200_000))


@pytest.mark.parametrize(("path", "field"), [("/api/v1/predict", "image"), ("/", "image-file")])
def test_forms_get_an_answer_or_a_problem(
    app: Flask, seeds: list[bytes], path: str, field: str
) -> None:
    client = app.test_client()
    headers = st.sampled_from(
        [
            'form-data; name="%s"; filename="x.png"',
            'form-data; name="%s"',
            'form-data; name="%s"; filename="../../x\x00"',
            "form-data; name*=utf-8''%s; filename*=utf-8''%%ff%%00",
            'attachment; name="%s"',
            "",
        ]
    )
    boundaries = st.sampled_from(["b", "b b", '"b"', "", "b" * 300, "--", "b; charset=x"])

    def check(
        parts: list[tuple[str, bytes]], boundary: str, edits: list[tuple[float, str, bytes]]
    ) -> None:
        body = b"".join(
            b"--b\r\nContent-Disposition: "
            + (header % field if "%s" in header else header).encode()
            + b"\r\n\r\n"
            + content
            + b"\r\n"
            for header, content in parts
        )
        body = edited(body + b"--b--\r\n", edits)
        answer = client.post(
            path,
            data=body,
            headers={
                "Content-Type": f"multipart/form-data; boundary={boundary}",
                "Accept": "application/problem+json",
            },
        )
        assert answer.status_code == 200 or 400 <= answer.status_code < 500, answer.text
        if answer.status_code != 200:
            assert json.loads(answer.data)["detail"].endswith(".")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fuzz(
            check,
            st.lists(st.tuples(headers, st.sampled_from(seeds)), max_size=3),
            boundaries,
            EDITS,
        )
