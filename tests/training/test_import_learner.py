"""fastai learners: what they do to a photo, taken apart; from export.pkl to the same answers."""

from __future__ import annotations

import csv
import os
import pathlib
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from elsewhere import LABELS, make_steep, run, write_photos
from fastai.data.all import CategoryBlock, DataBlock, MultiCategoryBlock, Normalize, RandomSplitter
from fastai.vision.all import (
    ImageBlock,
    ImageDataLoaders,
    Learner,
    PadMode,
    PILImageBW,
    RandomResizedCrop,
    RatioResize,
    Resize,
    ResizeMethod,
    aug_transforms,
    imagenet_stats,
    vision_learner,
)
from torch import nn

from shopwindow.bundle import read_bundle
from shopwindow.errors import TrainingError
from shopwindow.importing.fastai_process import forgiving_pickle
from shopwindow.importing.fastai_transforms import take_apart
from shopwindow.importing.source import prepare
from shopwindow.inference.prediction import Prediction
from shopwindow.inference.predictor import load_predictor

NORMALIZE = Normalize.from_stats(*imagenet_stats, cuda=False)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_photos(tmp_path_factory.mktemp("photos"), 16)


def label_of(path: Path) -> str:
    """A function of the user's own, which no other process will find."""
    return path.name.partition("_")[0]


def make_learner(photos: list[Path], item: Any, batch: Any) -> Learner:
    dls = ImageDataLoaders.from_path_func(
        photos[0].parent, photos, label_of, item_tfms=item, batch_tfms=batch, bs=8, num_workers=0
    )
    learn = vision_learner(dls, "test_resnet", pretrained=False)
    make_steep(learn.model)
    return learn


@pytest.mark.parametrize(
    ("item", "batch"),
    [
        (Resize(96), [NORMALIZE]),
        (Resize((96, 80), ResizeMethod.Squish), [*aug_transforms(flip_vert=True), NORMALIZE]),
        (Resize(96, ResizeMethod.Pad), [NORMALIZE]),
        (Resize((80, 96), ResizeMethod.Pad, PadMode.Zeros), [NORMALIZE]),
        (RandomResizedCrop(96, min_scale=0.5), [*aug_transforms(), NORMALIZE]),
        (Resize(150), [*aug_transforms(size=96), NORMALIZE]),
        (Resize(200), [*aug_transforms(size=(80, 64), align_corners=False), NORMALIZE]),
        (Resize(120), [*aug_transforms(size=96, min_scale=0.75), NORMALIZE]),
    ],
    ids=["crop", "squish", "pad", "pad-black", "cut", "presized", "shrunk", "cut-on-gpu"],
)
def test_what_is_taken_apart_answers_like_the_learner(
    photos: list[Path], item: Any, batch: Any
) -> None:
    learn = make_learner(photos, item, batch)
    with learn.no_bar():
        expected, _ = learn.get_preds(dl=learn.dls.test_dl(photos, num_workers=0))
    labels, rule, network = take_apart(learn)
    with torch.inference_mode():
        found = network(torch.from_numpy(prepare([p.read_bytes() for p in photos], rule)))
    assert labels == LABELS
    assert expected.max(dim=1).values.median() > 0.5, "an answer that a wrong pixel cannot move"
    assert len(set(expected.argmax(dim=1).tolist())) > 1
    torch.testing.assert_close(found, torch.Tensor(expected), atol=1e-4, rtol=0)


def without_resize(photos: list[Path]) -> Learner:
    return make_learner(photos, None, [NORMALIZE])


def with_a_resize_of_many_sizes(photos: list[Path]) -> Learner:
    return make_learner(photos, RatioResize(96), [NORMALIZE])


def of_grey_photos(photos: list[Path]) -> Learner:
    block = DataBlock(
        (ImageBlock(PILImageBW), CategoryBlock()),
        get_y=label_of,
        splitter=RandomSplitter(seed=1),
        item_tfms=Resize(64),
    )
    dls = block.dataloaders(photos, bs=8, num_workers=0)
    return Learner(dls, nn.Sequential(nn.Flatten(), nn.Linear(64 * 64, 5)))


def of_several_labels(photos: list[Path]) -> Learner:
    block = DataBlock(
        (ImageBlock, MultiCategoryBlock),
        get_y=lambda path: [label_of(path), "all"],
        splitter=RandomSplitter(seed=1),
        item_tfms=Resize(64),
    )
    dls = block.dataloaders(photos, bs=8, num_workers=0)
    return Learner(dls, nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 6)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (without_resize, "found no Resize.*item_tfms=Resize"),
        (with_a_resize_of_many_sizes, "RatioResize cannot be expressed in a bundle"),
        (of_grey_photos, "a photo in colour .PILImage., found .* PILImageBW"),
        (of_several_labels, "one of many labels, found the loss BCEWithLogits"),
    ],
)
def test_learner_that_no_bundle_can_be_is_refused(
    photos: list[Path], make: Any, message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        take_apart(make(photos))


def test_hundred_real_photos_get_the_same_answers_from_learner_and_bundle(
    phone_photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with (phone_photos / "images.csv").open(newline="") as file:
        rows = {row["image"]: row["label"] for row in csv.DictReader(file)}
    files = sorted((phone_photos / "images").glob("*.jpg"))[:100]
    assert len(files) == 100
    dls = ImageDataLoaders.from_lists(
        phone_photos, files, [rows[path.stem] for path in files],
        item_tfms=Resize(160), batch_tfms=[*aug_transforms(size=96), NORMALIZE],
        bs=16, num_workers=0,
    )  # fmt: skip
    learn = vision_learner(dls, "test_resnet", pretrained=False, path=tmp_path)
    make_steep(learn.model)
    with learn.no_bar():
        expected, _ = learn.get_preds(dl=learn.dls.test_dl(files, num_workers=0))
        alone = torch.stack([learn.predict(path)[2] for path in files[:5]])
    torch.testing.assert_close(expected[:5], alone, atol=1e-5, rtol=0)
    learn.export()

    status = run(
        "import", tmp_path / "export.pkl", "--trust", "--preview", files[0].parent, "--yes",
        "--out", tmp_path / "bundle.onnx",
    )  # fmt: skip
    said = capfd.readouterr()
    assert status == 0, said.err
    assert len([line for line in said.out.splitlines() if ".jpg  " in line]) == 10
    answers = load_predictor(tmp_path / "bundle.onnx", engine="onnxruntime").predict_bytes(
        [path.read_bytes() for path in files], top=100
    )
    for probabilities, answer in zip(expected, answers, strict=True):
        assert isinstance(answer, Prediction)
        assert answer.label == dls.vocab[int(probabilities.argmax())]
        scores = {one.label: one.confidence for one in answer.top}
        assert [scores[one] for one in dls.vocab] == pytest.approx(
            probabilities.tolist(), abs=0.001
        )
    assert len({answer.label for answer in answers if isinstance(answer, Prediction)}) > 3
    info = read_bundle(tmp_path / "bundle.onnx").info
    assert info.training["weights"] == "export.pkl"
    assert info.training["compared_with_source"]["largest_difference"] <= 0.001
    assert str(tmp_path) not in str(info.as_json())


class _Elsewhere:
    """Pickled as a path of the other kind of system, which cannot be made here."""

    def __reduce__(self) -> tuple[Any, ...]:
        kind = pathlib.PosixPath if os.name == "nt" else pathlib.WindowsPath
        return kind, ("C:\\", "photos")


def test_paths_of_another_system_are_read(tmp_path: Path) -> None:
    torch.save({"path": _Elsewhere()}, tmp_path / "export.pkl")
    with pytest.raises(NotImplementedError):
        torch.load(tmp_path / "export.pkl", weights_only=False)
    found = torch.load(
        tmp_path / "export.pkl", weights_only=False, pickle_module=forgiving_pickle()
    )
    assert found["path"].name == "photos"


class _Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"import os; open({str(self.path)!r}, 'w').write(str(os.getpid()))",)


def test_pickle_is_not_read_without_trust_and_never_in_this_process(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    trap, sprung = tmp_path / "export.pkl", tmp_path / "sprung"
    trap.write_bytes(pickle.dumps(_Trap(sprung)))
    assert run("import", trap, "--yes", "--out", tmp_path / "x.onnx") == 2
    assert "whatever code somebody put into it" in capfd.readouterr().err
    assert not sprung.exists()

    assert run("import", trap, "--trust", "--yes", "--out", tmp_path / "x.onnx") == 1
    said = capfd.readouterr().err
    assert "export.pkl: expected a learner as learn.export() writes it" in said
    assert said.count("\n") == 1
    assert int(sprung.read_text()) != os.getpid()
    assert not (tmp_path / "x.onnx").exists()


def test_option_that_a_learner_answers_itself_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "export.pkl").write_bytes(b"any")
    assert run("import", tmp_path / "export.pkl", "--trust", "--size", "224", "--yes") == 2
    assert "--size has no effect on .pkl" in capfd.readouterr().err
