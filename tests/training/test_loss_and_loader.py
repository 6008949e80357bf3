"""The loss over several label columns, and batches that depend on the seed alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from shopwindow.data.split import Split
from shopwindow.runs import Run, TrainingOptions
from shopwindow.runs.mix import combine
from shopwindow.runs.training_data import open_dataset
from shopwindow.training.loaders import CachedLoader
from shopwindow.training.loss import ColumnsLoss, column_accuracy


@pytest.fixture(scope="module")
def loader(shapes_options: TrainingOptions) -> CachedLoader:
    dataset = open_dataset(Run(shapes_options.run_dir, shapes_options), (32, 32))
    everything = Split(np.arange(90), np.arange(0), "random", 3, 0.5)
    mix = combine(dataset, everything)
    return CachedLoader(mix.sources, everything.train, 16, train=True, seed=3)


def test_loss_of_one_column_is_cross_entropy() -> None:
    logits, codes = torch.randn(6, 4), torch.tensor([[0], [1], [2], [3], [0], [1]])
    assert torch.isclose(ColumnsLoss((4,))(logits, codes), F.cross_entropy(logits, codes[:, 0]))


def test_missing_attributes_add_nothing_to_the_loss() -> None:
    loss = ColumnsLoss((2, 3), attribute_weight=0.3)
    logits = torch.randn(3, 5, requires_grad=True)
    main = torch.tensor([0, 1, 0])
    known = loss(logits, torch.stack([main, torch.tensor([2, -1, -1])], dim=1))
    expected = F.cross_entropy(logits[:, :2], main) + 0.3 * F.cross_entropy(
        logits[:1, 2:], torch.tensor([2])
    )
    assert torch.isclose(known, expected)
    none = loss(logits, torch.stack([main, torch.full((3,), -1)], dim=1))
    assert torch.isclose(none, F.cross_entropy(logits[:, :2], main))
    none.backward()
    assert torch.isfinite(logits.grad).all()


def test_loss_of_a_set_is_that_of_its_summed_probability() -> None:
    logits = torch.randn(2, 4)
    loss = ColumnsLoss((4,), [np.array([[True, False, True, False]])])
    shares = logits.softmax(dim=1)
    expected = -torch.log(shares[:, 0] + shares[:, 2]).mean()
    assert torch.isclose(loss(logits, torch.tensor([[4], [4]])), expected)


def test_loss_of_nothing_is_least_where_all_labels_are_equally_likely() -> None:
    loss = ColumnsLoss((4,), [np.zeros((1, 4), bool)])
    code = torch.tensor([[4]])
    assert torch.isclose(loss(torch.zeros(1, 4), code), torch.tensor(4.0).log())
    assert loss(torch.tensor([[1.0, 0, 0, 0]]), code) > loss(torch.zeros(1, 4), code)


def test_answer_is_right_within_its_set() -> None:
    metric = column_accuracy((3,), 0, "accuracy", [np.array([[True, True, False]])])
    logits = torch.eye(3)[[0, 1, 2, 0, 2]]
    codes = torch.tensor([[3], [3], [3], [-1], [2]])
    assert metric.func(logits, codes) == 3 / 4


def test_batches_depend_on_seed_stage_and_epoch_alone(loader: CachedLoader) -> None:
    loader.start_epoch("stage-1", 4)
    first = [(images.clone(), codes) for images, codes in loader]
    torch.rand(5)  # what else draws random numbers must not matter
    loader.start_epoch("stage-1", 4)
    again = list(loader)
    assert len(first) == len(again) == 5
    for (images, codes), (images_again, codes_again) in zip(first, again, strict=True):
        assert torch.equal(images, images_again)
        assert torch.equal(codes, codes_again)
    loader.start_epoch("stage-1", 5)
    assert not torch.equal(next(iter(loader))[0], first[0][0])


def test_continuing_in_an_epoch_yields_its_remaining_batches(loader: CachedLoader) -> None:
    loader.start_epoch("stage-1", 1)
    whole = [images.clone() for images, _ in loader]
    loader.start_epoch("stage-1", 1, first_batch=3)
    rest = [images.clone() for images, _ in loader]
    assert len(rest) == 2
    assert all(torch.equal(a, b) for a, b in zip(whole[3:], rest, strict=True))


def test_images_are_floats_between_zero_and_one(loader: CachedLoader) -> None:
    loader.start_epoch("stage-1", 1)
    images, codes = next(iter(loader))
    assert images.shape == (16, 3, 32, 32)
    assert images.dtype == torch.float32
    assert images.min() >= -1e-4
    assert images.max() <= 1 + 1e-4
    assert codes.shape == (16, 2)
