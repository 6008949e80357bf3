import contextlib
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from shopwindow.bundle import ACTIVATION_OUTPUT, bundled_model_path, read_bundle
from shopwindow.errors import BundleError, MissingExtraError
from shopwindow.inference import engine as engines
from shopwindow.inference.engine import (
    ChosenEngine,
    Engine,
    EngineName,
    available_cores,
    choose_engine,
    open_engine,
)
from shopwindow.inference.openvino import OpenVinoEngine
from shopwindow.inference.predictor import Predictor, load_predictor
from shopwindow.settings import Settings


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def engine(colour_bundle: Path, request: pytest.FixtureRequest) -> Engine:
    if request.param == "openvino":
        pytest.importorskip("openvino", reason="OpenVINO is an extra: pip install openvino")
    return open_engine(colour_bundle.read_bytes(), threads=2, name=request.param)


def test_probabilities_come_by_column_and_sum_to_one(engine: Engine) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 8, 6, 3), np.uint8)
    outputs = engine.run(images, ["colour", "brightness"])
    assert {name: rows.shape for name, rows in outputs.items()} == {
        "colour": (7, 5),
        "brightness": (7, 2),
    }
    for rows in outputs.values():
        assert rows.dtype == np.float32
        np.testing.assert_allclose(rows.sum(1), 1, atol=1e-5)


def test_a_view_with_other_strides_gives_the_same_answer(engine: Engine) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 6, 3), np.uint8)
    expected = engine.run(images[:, :, ::-1].copy())["colour"]
    np.testing.assert_array_equal(engine.run(images[:, :, ::-1])["colour"], expected)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 6, 8, 3), np.uint8),
        np.zeros((8, 6, 3), np.uint8),
        np.zeros((2, 8, 6, 3), np.float32),
        np.zeros((2, 3, 8, 6), np.uint8),
    ],
)
def test_other_shapes_and_types_are_refused_with_both(engine: Engine, wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected \(N, 8, 6, 3\) uint8, got \("):
        engine.run(wrong)


def test_no_threads_are_refused(colour_bundle: Path) -> None:
    with pytest.raises(ValueError, match="threads: expected at least 1"):
        open_engine(colour_bundle.read_bytes(), threads=0)


def test_no_streams_are_refused(colour_bundle: Path) -> None:
    with pytest.raises(ValueError, match="streams: expected at least 1"):
        open_engine(colour_bundle.read_bytes(), streams=0)


def test_nothing_is_printed_by_loading_and_running(
    colour_bundle: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """capfd sees what native code prints, too."""
    open_engine(colour_bundle.read_bytes()).run(np.zeros((1, 8, 6, 3), np.uint8))
    assert capfd.readouterr() == ("", "")


def test_engines_agree_in_float(colour_bundle: Path) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is an extra: pip install openvino")
    model = colour_bundle.read_bytes()
    one, other = (open_engine(model, threads=1, name=name) for name in ("onnxruntime", "openvino"))
    images = np.random.default_rng(0).integers(0, 256, (30, *one.input_shape), np.uint8)
    expected, found = (engine.run(images) for engine in (one, other))
    assert list(expected) == list(found)
    tolerance = 0.02 if "bfloat16" in other.name else 1e-4
    for name, rows in expected.items():
        np.testing.assert_allclose(found[name], rows, atol=tolerance)


def test_engines_agree_on_the_bundled_model() -> None:
    """They round differently in 8 bits, so by its examples: noise is a toss-up to begin with."""
    pytest.importorskip("openvino", reason="OpenVINO is an extra: pip install openvino")
    bundle = read_bundle(bundled_model_path())
    one, other = (
        open_engine(bundle.model, threads=1, name=name) for name in ("onnxruntime", "openvino")
    )
    assert one.name == "onnxruntime int8"
    assert other.name.startswith("openvino int8")
    pictures = sorted((bundled_model_path().parent / "examples" / "fashion").glob("*.webp"))
    prepare = Predictor(bundle, threads=1).prepare
    images = np.stack([prepare(picture.read_bytes()) for picture in pictures])
    expected, found = one.run(images), other.run(images)
    assert list(expected) == list(found)
    main = bundle.info.main.name
    # Of a drawing that it is in doubt about, two labels may be nearly a tie, but the same two.
    sure = expected[main].max(1) >= bundle.info.threshold.min_confidence
    first_two = [
        np.sort(np.argsort(rows[main][~sure], axis=1)[:, -2:]) for rows in (expected, found)
    ]
    np.testing.assert_array_equal(*first_two)
    assert sure.sum() >= 4
    np.testing.assert_array_equal(found[main][sure].argmax(1), expected[main][sure].argmax(1))
    np.testing.assert_allclose(found[main][sure], expected[main][sure], atol=0.05)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_runs_side_by_side_give_each_its_own_answer(name: EngineName, colour_bundle: Path) -> None:
    if name == "openvino":
        pytest.importorskip("openvino", reason="OpenVINO is an extra: pip install openvino")
    engine = open_engine(colour_bundle.read_bytes(), threads=2, streams=2, name=name)
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 6, 3), np.uint8)
    expected = engine.run(images)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda image: engine.run(image[None]), images))
    for name, rows in expected.items():
        found = np.concatenate([answer[name] for answer in answers])
        np.testing.assert_allclose(found, rows, atol=1e-5)
    assert ACTIVATION_OUTPUT in expected


@pytest.mark.parametrize(
    ("flags", "native"),
    [("fpu avx2 amx_bf16 amx_tile", True), ("fpu avx2 avx512f", False), ("xamx_bf16x", False)],
)
def test_bfloat16_is_taken_for_native_by_the_flags_of_the_processor(
    flags: str, native: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    monkeypatch.setattr(engines, "Path", lambda _: cpuinfo)
    assert engines.computes_bf16() is native


def test_auto_takes_openvino_only_where_bfloat16_is_native(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is an extra: pip install openvino")
    for native, expected in ((False, "onnxruntime float32"), (True, "openvino bfloat16")):
        monkeypatch.setattr(engines, "computes_bf16", lambda native=native: native)
        assert open_engine(colour_bundle.read_bytes(), name="auto").name == expected


def test_who_names_no_engine_gets_the_one_of_serve(colour_bundle: Path) -> None:
    for path in (colour_bundle, bundled_model_path()):
        model = path.read_bytes()
        served = choose_engine(model, Settings().engine)  # type: ignore[arg-type]
        assert choose_engine(model) == served
        ran = load_predictor(path, threads=1).engine_name
        assert ran == open_engine(model, threads=1, name=served).name
        assert ran.split()[0] == served.split()[0]


@pytest.mark.parametrize("chosen", get_args(ChosenEngine))
def test_what_was_chosen_elsewhere_is_kept(
    chosen: ChosenEngine, colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is an extra: pip install openvino")
    model = colour_bundle.read_bytes()
    for native in (True, False):
        monkeypatch.setattr(engines, "computes_bf16", lambda native=native: native)
        assert choose_engine(model, chosen) == chosen
        name = open_engine(model, threads=1, name=chosen).name
        assert name == ("onnxruntime float32" if chosen == "onnxruntime" else chosen)
        openvino = f"openvino {'bfloat16' if native else 'float32'}"
        assert choose_engine(model, "openvino") == openvino


def test_openvino_shares_the_cores_with_other_processes() -> None:
    """Pinned threads of several workers would all sit on the first core."""
    pytest.importorskip("openvino", reason="OpenVINO is an extra: pip install openvino")
    if available_cores() < 2:
        pytest.skip("one core")
    engine = open_engine(bundled_model_path().read_bytes(), threads=1, name="openvino")
    images = np.zeros((64, *engine.input_shape), np.uint8)
    allowed = set()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(lambda: [engine.run(images) for _ in range(3)])
        while not running.done():
            for task in Path("/proc/self/task").iterdir():
                with contextlib.suppress(OSError):  # it has ended
                    allowed.add(len(os.sched_getaffinity(int(task.name))))
    assert allowed == {available_cores()}


def test_model_that_openvino_cannot_run_is_named_with_the_way_out(colour_bundle: Path) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is an extra: pip install openvino")
    half = colour_bundle.read_bytes()[:2000]
    with pytest.raises(
        BundleError, match=r"OpenVINO can run, .*go without it, set SHOPWINDOW_ENGINE=onnx"
    ):
        OpenVinoEngine(half, threads=1, bf16=False)


def test_openvino_that_is_not_installed_is_named_with_its_extra(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert open_engine(colour_bundle.read_bytes(), name="auto").name == "onnxruntime float32"
    with pytest.raises(MissingExtraError, match=r"pip install .*\[openvino\]'") as caught:
        open_engine(colour_bundle.read_bytes(), name="openvino")
    # From a worker it comes as it is.
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301


def test_unknown_engine_is_refused(colour_bundle: Path) -> None:
    with pytest.raises(ValueError, match="engine: expected auto, onnxruntime, openvino"):
        open_engine(colour_bundle.read_bytes(), name="tensorrt")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "250000 100000\n"}, 3),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_quota_of_a_container_counts_as_so_many_cores(
    files: dict[str, str], cores: int | None, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert engines._quota_of_cores(tmp_path) == cores
