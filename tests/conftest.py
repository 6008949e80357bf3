"""What many tests share: the data beside the repository, and a real, tiny bundle."""

from __future__ import annotations

import io
import os
import signal
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper
from PIL import Image

from chromium import HOW_TO_HAVE_IT, find_chromium
from colour_bundle import colour_graph, colour_info, write_colour_bundle
from shopwindow.bundle import KINDS_OUTPUT
from shopwindow.bundle.prediction_sets import PredictionSets, SetRule, SetsOfKind
from shopwindow.inference.predictor import Predictor, load_predictor


def pytest_report_header() -> str:
    found = find_chromium() or f"none, so that browser tests are skipped; {HOW_TO_HAVE_IT}"
    return f"chromium: {found}"


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_reaches_the_programs_under_test() -> None:
    """A shell that runs the tests in the background ignores SIGINT, and so would all they start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _the_users_own_folder_stays_as_it_is(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where feedback and decoded images go by default, here and in what a test starts."""
    os.environ["XDG_DATA_HOME"] = str(tmp_path_factory.mktemp("data-home"))
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache-home"))


@pytest.fixture(scope="session")
def repository_root() -> Path:
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data(repository_root: Path) -> Path:
    folder = repository_root.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the test data are not on this machine (expected in {folder})")
    return folder


@pytest.fixture(scope="session")
def unpacked(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Unpack `<name>.tar.xz` of the shared data, once, and return the folder in it."""
    folders: dict[str, Path] = {}

    def unpack(name: str) -> Path:
        if name not in folders:
            archive = shared_data / f"{name}.tar.xz"
            if not archive.is_file():
                pytest.skip(f"{archive.name} is not on this machine (expected {archive})")
            target = tmp_path_factory.mktemp(name)
            with tarfile.open(archive) as tar:
                tar.extractall(target, filter="data")
            folders[name] = target / name if (target / name).is_dir() else target
        return folders[name]

    return unpack


@pytest.fixture(scope="session")
def fashion_catalogue(unpacked: Callable[[str], Path]) -> Path:
    """Folder with `styles.csv` and `images/`: 44,445 rows, 39,584 photos of 60 x 80."""
    return unpacked("fashion-catalogue")


@pytest.fixture(scope="session")
def hostile_images(unpacked: Callable[[str], Path]) -> Path:
    """Folder with 198 odd image files and `INDEX.csv`."""
    return unpacked("hostile-images")


@pytest.fixture(scope="session")
def large_photos(unpacked: Callable[[str], Path]) -> Path:
    """Folder with 75 catalogue photos of up to 900 x 1200."""
    return unpacked("large-photos")


@pytest.fixture(scope="session")
def phone_photos(unpacked: Callable[[str], Path]) -> Path:
    """Folder with `images.csv` and 3,117 photos of clothes taken with phones."""
    return unpacked("phone-photos")


@pytest.fixture(scope="session")
def colour_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real bundle: column `colour` (red, green, blue, black, white), attribute `brightness`."""
    return write_colour_bundle(tmp_path_factory.mktemp("bundle") / "colours.onnx")


@pytest.fixture(scope="session")
def embedding_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of colours with its embedding."""
    return write_colour_bundle(tmp_path_factory.mktemp("bundle") / "e.onnx", embedding=True)


@pytest.fixture(scope="session")
def sets_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of colours with prediction sets: sure ones of one label, others from 20 % on.

    It promises nothing about a light colour that it is not sure of.
    """
    sure, not_sure = SetRule(1.0, 120, 0.96, 1.0), SetRule(0.2, 80, 0.95, 2.1)
    kinds = SetsOfKind("dark colours", sure, not_sure), SetsOfKind("light colours", sure, None)
    info = replace(colour_info(), prediction_sets=PredictionSets(0.95, kinds))
    graph = colour_graph()
    graph.node.append(helper.make_node("Identity", ["brightness"], [KINDS_OUTPUT]))
    graph.output.append(helper.make_tensor_value_info(KINDS_OUTPUT, TensorProto.FLOAT, ["N", 2]))
    path = tmp_path_factory.mktemp("bundle") / "sets.onnx"
    return write_colour_bundle(path, info=info, graph=graph)


@pytest.fixture(scope="session")
def predictor(colour_bundle: Path) -> Predictor:
    return load_predictor(colour_bundle, threads=1)


@pytest.fixture(scope="session")
def image_bytes() -> Callable[..., bytes]:
    """Return a function that makes an image file of one colour."""

    def make(
        color: str | tuple[int, ...] | int = "red",
        size: tuple[int, int] = (40, 40),
        format: str = "PNG",  # noqa: A002
        *,
        mode: str = "RGB",
        **save_options: Any,
    ) -> bytes:
        buffer = io.BytesIO()
        Image.new(mode, size, color).save(buffer, format, **save_options)
        return buffer.getvalue()

    return make
