"""Distillation: whom a network learns from, what of, and that the teacher is the bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from shopwindow.bundle import read_bundle
from shopwindow.dataset.dataset import Dataset
from shopwindow.dataset.split import split_images
from shopwindow.errors import UsageError
from shopwindow.inference.predictor import Predictor
from shopwindow.training import TrainingOptions
from shopwindow.training.export import export_trained
from shopwindow.training.loss import ColumnsLoss
from shopwindow.training.reading import open_dataset
from shopwindow.training.recipes import scratch
from shopwindow.training.run import Run
from shopwindow.training.teaching import Distil, TaughtLoss, Teacher, open_teacher
from shopwindow.training.trainer import Trainer

# The first column's code 3 allows the first two labels, code 4 none; the second one has two labels.
SETS = [np.array([[True, True, False], [False] * 3]), np.zeros((0, 2), np.bool_)]
USUAL = ColumnsLoss((3, 2), SETS)


def kl(answer: Tensor, logits: Tensor, temperature: float) -> Tensor:
    """The divergence as it is written in the paper, per image."""
    own = (logits / temperature).softmax(1)
    return temperature**2 * (answer * (answer / own).log()).sum(1)


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    torch.manual_seed(1)
    codes = torch.tensor([[0, 1], [2, -1], [3, 0], [4, -1]])
    return torch.randn(4, 5), codes, (torch.rand(4, 3).softmax(1), torch.rand(4, 2).softmax(1))


def test_loss_is_the_usual_one_and_the_divergence_by_their_weights(batch) -> None:
    logits, codes, answers = batch
    loss = TaughtLoss(USUAL, weight=0.3, temperature=2.0)
    main, other = USUAL.by_column(logits, codes)
    # The last image shows nothing: an even target in the main column, none in the other.
    target = torch.cat([answers[0][:3], torch.full((1, 3), 1 / 3)])
    taught = 0.7 * main + 0.3 * kl(target, logits[:, :3], 2.0).mean()
    attribute = 0.7 * other + 0.3 * kl(answers[1], logits[:, 3:], 2.0)[:3].mean()
    assert torch.isclose(loss(logits, codes, answers), taught + 0.3 * attribute)


def test_without_answers_it_is_the_usual_loss(batch) -> None:
    logits, codes, _ = batch
    loss = TaughtLoss(USUAL, weight=0.3, temperature=2.0)
    assert torch.equal(loss(logits, codes), USUAL(logits, codes))


def test_column_without_a_teacher_keeps_its_whole_loss(batch) -> None:
    logits, codes, answers = batch
    loss = TaughtLoss(USUAL, weight=1.0, temperature=1.0)
    _, other = USUAL.by_column(logits, codes)
    nothing_of_main = kl(
        torch.cat([answers[0][:3], torch.full((1, 3), 1 / 3)]), logits[:, :3], 1.0
    ).mean()
    assert torch.isclose(loss(logits, codes, (answers[0], None)), nothing_of_main + 0.3 * other)


def test_network_that_learns_from_the_teacher_alone_comes_to_its_answers(batch) -> None:
    logits, codes, answers = batch
    loss = TaughtLoss(USUAL, weight=1.0, temperature=2.0)
    own = logits.clone().requires_grad_()
    optimiser = torch.optim.Adam([own], 0.2)
    for _ in range(150):
        optimiser.zero_grad()
        loss(own, codes, answers).backward()
        optimiser.step()
    shares = (own.detach()[:, :3] / 2).softmax(1)
    assert torch.allclose(shares[:3], answers[0][:3], atol=0.01), "whatever the labels say"
    assert torch.allclose(shares[3], torch.full((3,), 1 / 3), atol=0.01), "but never about nothing"


@pytest.fixture(scope="module")
def dataset(shapes_options: TrainingOptions) -> Dataset:
    return open_dataset(shapes_options, (32, 32))


@pytest.fixture
def teacher(shapes_run: Path, dataset: Dataset) -> Teacher:
    return open_teacher(shapes_run / "model.onnx", [("shapes", dataset, split_images(dataset))])


def test_teachers_answer_is_the_bundles_over_image_and_mirror(
    teacher: Teacher, shapes_run: Path, dataset: Dataset
) -> None:
    images = dataset.images(np.arange(90))
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    found = Distil([teacher], 1.0).answers(pixels)[0]
    assert torch.allclose(found, Distil([teacher], 1.0).answers(pixels.flip(-1))[0], atol=1e-5)
    predictor = Predictor(read_bundle(shapes_run / "model.onnx"), engine="onnxruntime")
    served = [predictor.probabilities(i)["shape"] for i in (images, images[:, :, ::-1].copy())]
    # The bundle's softmax has a temperature of its own. Undone, the answers are the same.
    logits = teacher.model(pixels)[:, :3]
    logs = [torch.from_numpy(shares).log() for shares in served]
    scale = (logs[0][:, 0] - logs[0][:, 1]).std() / (logits[:, 0] - logits[:, 1]).std()
    assert torch.allclose(found, sum((log / scale).softmax(1) for log in logs) / 2, atol=0.01)


def test_several_teachers_count_alike(teacher: Teacher, dataset: Dataset) -> None:
    pixels = torch.from_numpy(dataset.images(np.arange(8))).permute(0, 3, 1, 2).float() / 255
    other = replace(teacher, picks=(teacher.picks[0].flip(0), None))
    first, second, both = (
        Distil(them, 2.0).answers(pixels) for them in ([teacher], [other], [teacher, other])
    )
    assert torch.allclose(both[0], (first[0] + second[0]) / 2)
    assert second[1] is None
    assert torch.equal(both[1], first[1]), "of those who have the column"


def test_teacher_of_more_labels_is_asked_about_those_of_the_training(
    shapes_run: Path, shapes: Path, shapes_options: TrainingOptions, tmp_path: Path
) -> None:
    lines = (shapes / "shapes.csv").read_text().splitlines()
    table = tmp_path / "two.csv"
    table.write_text("\n".join(line for line in lines if ",circle" not in line))
    dataset = open_dataset(replace(shapes_options, labels_file=table), (32, 32))
    teacher = open_teacher(shapes_run / "model.onnx", [("two", dataset, split_images(dataset))])
    assert [pick.tolist() for pick in teacher.picks] == [[1, 2], [3, 4]]
    pixels = torch.from_numpy(dataset.images([0, 1])).permute(0, 3, 1, 2).float() / 255
    answers = Distil([teacher], 1.0).answers(pixels)
    assert torch.allclose(answers[0].sum(1), torch.ones(2))


@pytest.mark.parametrize(
    ("change", "size", "words"),
    [
        ({"label_column": "colour", "also": ()}, (32, 32), "2 of 2 are missing, such as blue, red"),
        ({}, (32, 24), r"of the proportions 32x24 \(pad\), found 32x32"),
        ({"seed": 7}, (32, 32), "it has learned from those that judge this model"),
    ],
)
def test_teacher_that_does_not_fit_is_refused_with_a_sentence(
    shapes_run: Path,
    shapes_options: TrainingOptions,
    change: dict[str, object],
    size: tuple[int, int],
    words: str,
) -> None:
    options = replace(shapes_options, **change)
    dataset = open_dataset(options, size)
    # What is held out is told from names and digest; the name is that of the data folder.
    name = options.data.name if "seed" in change else "others"
    parts = [(name, dataset, split_images(dataset, seed=options.seed))]
    with pytest.raises(UsageError, match=words):
        open_teacher(shapes_run / "model.onnx", parts)


def test_teacher_that_was_not_trained_here_is_refused(
    colour_bundle: Path, dataset: Dataset
) -> None:
    with pytest.raises(UsageError, match="found the recipe 'none'"):
        open_teacher(colour_bundle, [("shapes", dataset, split_images(dataset))])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"distil_weight": 0.5}, "--distil-weight has no effect without a teacher"),
        ({"distil": (Path("a"),), "distil_weight": 1.5}, "expected above 0 and up to 1, got 1.5"),
        ({"distil": (Path("a"),), "distil_temperature": 0.1}, "expected 0.5 to 20, got 0.1"),
    ],
)
def test_options_of_teaching_out_of_range_are_refused(
    shapes_options: TrainingOptions, change: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        replace(shapes_options, **change)


def test_teacher_sees_each_image_of_a_training_in_full_size_and_the_card_names_it(
    shapes_options: TrainingOptions, shapes_run: Path, tmp_path: Path
) -> None:
    start = shapes_run / "model.onnx"
    options = replace(shapes_options, distil=(start,), distil_weight=0.9, out=tmp_path / "run")
    trainer = Trainer(Run.create(options))
    trainer.save()
    seen: dict[str, list[tuple[int, ...]]] = {"network": [], "teacher": []}
    for who, model in (("network", trainer.model), ("teacher", trainer.teachers[0].model)):
        model.register_forward_pre_hook(
            lambda module, inputs, who=who: seen[who].append(tuple(inputs[0].shape))
        )
    before = [p.clone() for p in trainer.teachers[0].model.parameters()]
    scratch(trainer)
    assert seen["teacher"] == [(16, 3, 32, 32)] * 16, "two passes in each of 8 steps"
    assert seen["network"][:4] == [(16, 3, 26, 26)] * 4, "small at first"
    assert all(map(torch.equal, before, trainer.teachers[0].model.parameters()))
    info = read_bundle(export_trained(trainer, tmp_path / "model.onnx")).info
    (named,) = info.training["teachers"]
    assert named["sha256"] == read_bundle(start).sha256
    assert info.training["distil"] == {"weight": 0.9, "temperature": 2.0}
    assert (tmp_path / "run" / "teacher-1.onnx").read_bytes() == start.read_bytes()
