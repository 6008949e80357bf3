"""Weights of torchvision and timm networks, from a file to a bundle that answers like them."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from elsewhere import LABELS, make_steep, run, write_labels, write_photos
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchvision import transforms

from shopwindow.bundle import read_bundle
from shopwindow.importing.weights import usual_preparation
from shopwindow.inference.prediction import Prediction
from shopwindow.inference.predictor import load_predictor

IMAGENET = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_photos(tmp_path_factory.mktemp("photos"), 12)


def assert_bundle_answers_like(
    bundle: Path, model: nn.Module, photos: list[Path], prepare: transforms.Compose
) -> None:
    """Through torchvision's own transforms on one side, through the predictor on the other."""
    with torch.inference_mode():
        pixels = torch.stack([prepare(Image.open(path)) for path in photos])
        expected = model(pixels).softmax(dim=1).numpy()
    answers = load_predictor(bundle, engine="onnxruntime").predict_bytes(
        [path.read_bytes() for path in photos]
    )
    found = np.array(
        [
            [{one.label: one.confidence for one in answer.top}[label] for label in LABELS]
            for answer in answers
            if isinstance(answer, Prediction)
        ]
    )
    assert len(set(expected.argmax(axis=1))) > 1
    np.testing.assert_allclose(found, expected, atol=0.001)


def test_torchvision_checkpoint_becomes_a_bundle(
    photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_steep(torchvision.models.shufflenet_v2_x0_5(num_classes=5))
    # As a trainer on several cards leaves it: wrapped, and with a prefix.
    state = {f"module.{key}": value for key, value in model.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "model.pth")
    status = run(
        "import", tmp_path / "model.pth", "--arch", "shufflenet_v2_x0_5", "--size", "64",
        "--labels", write_labels(tmp_path), "--resize", "shorter-side", "--scaled", "73",
        "--mean", "imagenet", "--std", "imagenet", "--yes", "--out", tmp_path / "bundle.onnx",
    )  # fmt: skip
    assert status == 0, capsys.readouterr().err
    prepare = transforms.Compose(
        [transforms.Resize(73), transforms.CenterCrop(64), transforms.ToTensor(), IMAGENET]
    )
    assert_bundle_answers_like(tmp_path / "bundle.onnx", model, photos, prepare)
    info = read_bundle(tmp_path / "bundle.onnx").info
    assert info.main.labels == LABELS
    assert info.training["arch"] == "shufflenet_v2_x0_5"
    assert not info.threshold.is_sure(1.0), "nothing was measured, so nothing is promised"


def test_questions_on_the_terminal_have_the_usual_answers(
    photos: list[Path], tmp_path: Path
) -> None:
    """A timm network in safetensors; Enter takes what timm itself would do, y writes it."""
    model = make_steep(timm.create_model("test_vit", num_classes=5), size=160)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    write_labels(tmp_path)
    ours, theirs = pty.openpty()
    os.write(ours, b"\n\n\n\n\n\ny\n")
    completed = subprocess.run(
        [
            sys.executable, "-m", "shopwindow", "import", "model.safetensors", "--arch", "test_vit",
            "--labels", "labels.txt",
            "--preview", str(photos[0].parent), "--out", "bundle.onnx",
        ],
        cwd=tmp_path, stdin=theirs, capture_output=True, text=True, check=False,
    )  # fmt: skip
    os.close(theirs)
    os.close(ours)
    assert completed.returncode == 0, completed.stderr
    assert "--size (Input size of the network in pixels.) [160]" in completed.stdout
    assert "Write bundle.onnx? [y/N]" in completed.stdout
    shown = [line.split() for line in completed.stdout.splitlines() if ".png  " in line]
    assert len(shown) == 10
    assert all(words[1] in LABELS for words in shown)
    prepare = transforms.Compose(
        [
            transforms.Resize(168, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(160),
            transforms.ToTensor(),
            transforms.Normalize([0.5] * 3, [0.5] * 3),
        ]
    )
    assert_bundle_answers_like(tmp_path / "bundle.onnx", model, photos, prepare)


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_without_a_yes_to_the_preview_nothing_is_written(
    answer: str,
    tmp_path: Path,
    photos: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))  # as a pipe would give it
    model = timm.create_model("test_resnet", num_classes=5)
    torch.save(model.state_dict(), tmp_path / "model.pth")
    status = run(
        "import", tmp_path / "model.pth", "--arch", "test_resnet", "--labels",
        write_labels(tmp_path), "--size", "32", "--resize", "squish", "--mean", "0.5", "--std",
        "0.5", "--preview", photos[0], "--out", tmp_path / "bundle.onnx",
    )  # fmt: skip
    said = capsys.readouterr()
    assert status == 2, said.err
    assert "was not written" in said.err
    assert photos[0].name in said.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.txt", "model.pth"]


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ([], "--size, --resize, --mean, --std"),
        (["--size", "96", "--mean", "imagenet"], "--resize, --std"),
    ],
)
def test_what_no_file_says_is_asked_for_by_name_with_what_is_usual(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str], missing: str
) -> None:
    torch.save(timm.create_model("test_resnet", num_classes=5).state_dict(), tmp_path / "m.pth")
    labels = write_labels(tmp_path)
    arguments = ["import", tmp_path / "m.pth", "--arch", "test_resnet", "--labels", labels, "--yes"]
    assert run(*arguments, *given) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"shopwindow: expected {missing}, as the file does not say")
    assert "usual for this network: --size 160 --resize shorter-side" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["m.pth"], "expected --labels FILE, with one label per line; m.pth does not name any"),
        (["m.pth", "--labels", "labels.txt"], "expected --arch NAME"),
        (["m.pth", "--labels", "labels.txt", "--arch", "x", "--layout", "nchw"], "--layout has no"),
        (["m.pth", "--trust"], "--trust has no effect on .pth"),
        (["m.h5"], "m.h5: expected a fastai learner"),
        (["m.onnx", "--arch", "resnet18"], "--arch has no effect on .onnx"),
        (["m.onnx", "--labels", "labels.txt", "--out", "m.onnx"], "--out: expected another file"),
        (["m.pth", "--mean", "124,117,104"], "divide by 255"),
        (["m.pth", "--std", "0"], "--std': expected one number"),
        (["m.onnx", "--labels", "labels.txt", "--column", "images"], "--column: expected another"),
    ],
)
def test_wrong_usage_is_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_labels(tmp_path)
    torch.save({"fc.weight": torch.zeros(5, 3)}, tmp_path / "m.pth")
    for name in ("m.h5", "m.onnx"):
        (tmp_path / name).write_bytes(b"any")
    assert run("import", *arguments, "--yes") == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_without_preview_or_yes_nothing_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.pth").write_bytes(b"any")
    labels = write_labels(tmp_path)
    assert run("import", tmp_path / "m.pth", "--arch", "resnet18", "--labels", labels) == 2
    assert "expected --preview FOLDER" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("coat\n\nhat\n", "found 0 in line 2"),
        ("coat\nhat\ncoat\n", "found 'coat' in lines 1 and 3"),
        ("coat\n", "expected 2 to 100,000 labels, found 1"),
    ],
)
def test_labels_that_cannot_be_right_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    (tmp_path / "labels.txt").write_text(text)
    torch.save({"fc.weight": torch.zeros(5, 3)}, tmp_path / "m.pth")
    assert run("import", tmp_path / "m.pth", "--labels", tmp_path / "labels.txt", "--yes") == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arch", "expected"),
    [
        ("resnet50", "224 × 224 pixels (shorter-side, from 232 × 232)"),
        ("vit_b_16", "224 × 224 pixels (shorter-side, from 256 × 256)"),
        ("vit_tiny_patch16_224", "224 × 224 pixels (shorter-side, bicubic, from 248 × 248)"),
    ],
)
def test_usual_preparation_is_that_of_the_library(arch: str, expected: str) -> None:
    usual = usual_preparation(arch)
    assert usual is not None
    assert str(usual.rule) == expected
