"""Class-balanced sampling: how often images are drawn, and that nothing else changes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from shopwindow.data.split import Split
from shopwindow.errors import UsageError
from shopwindow.runs import Run, TrainingOptions
from shopwindow.runs.balance import draw_pass, expected_draws
from shopwindow.runs.mix import ExtraDataset, LoadedExtra, combine
from shopwindow.runs.training_data import open_dataset
from shopwindow.training.loaders import CachedLoader, SeededDistributedDL

NO_SETS = np.zeros((0, 3), np.bool_)
COUNTS = (400, 100, 4)
CODES = np.repeat(np.arange(3), COUNTS)


@pytest.mark.parametrize(
    ("power", "expected"),
    # Labels of 400, 100 and 4 images have the weights 20, 10 and 2 under the square root.
    [(0.5, [504 * weight / 32 for weight in (20, 10, 2)]), (1.0, [168] * 3), (0.0, COUNTS)],
)
def test_labels_are_drawn_in_proportion_to_a_power_of_their_images(
    power: float, expected: list[float]
) -> None:
    draws = expected_draws(CODES, NO_SETS, power)
    for seed in range(5):
        drawn = draw_pass(draws, np.random.default_rng(seed))
        assert len(drawn) == 504
        assert np.bincount(CODES[drawn]) == pytest.approx(expected, abs=1)


def test_images_of_a_label_are_drawn_alike() -> None:
    draws = expected_draws(CODES, NO_SETS, 0.5)
    times = np.bincount(draw_pass(draws, np.random.default_rng(1)), minlength=504)
    for count, start in zip(COUNTS, (0, 400, 500), strict=True):
        of_label = times[start : start + count]
        assert of_label.max() - of_label.min() <= 1, of_label


def test_power_zero_draws_every_image_once() -> None:
    drawn = draw_pass(expected_draws(CODES, NO_SETS, 0.0), np.random.default_rng(1))
    assert sorted(drawn.tolist()) == list(range(504))
    assert (np.diff(drawn) < 0).any(), "in another order than they stand"


def test_image_with_a_choice_gets_the_mean_and_one_of_nothing_counts_for_itself() -> None:
    # Code 3 allows the first two labels, code 4 none. Images: 3 + half of 2, half of 2, 9.
    sets = np.array([[True, True, False], [False] * 3])
    draws = expected_draws(np.array([0, 0, 0, 3, 3, *[4] * 9]), sets, 1.0)
    relative = draws / draws[0]
    assert relative[3] == pytest.approx((1 / 4 + 1 / 1) / 2 / (1 / 4))
    assert relative[5] == pytest.approx((1 / 9) / (1 / 4))
    assert draws.sum() == pytest.approx(14)


@pytest.fixture(scope="module")
def sources(shapes_options: TrainingOptions):
    """5 circles, 10 crosses and 30 squares; beside them one circle and 29 crosses."""
    dataset = open_dataset(Run(shapes_options.run_dir, shapes_options), (32, 32))
    circles, crosses, squares = (
        np.flatnonzero(dataset.codes["shape"] == code) for code in (0, 1, 2)
    )
    few = np.concatenate([circles[:5], crosses[:10], squares])
    more = np.concatenate([circles[5:6], crosses[:29]])
    nothing = np.empty(0, np.int64)
    extra = LoadedExtra(
        ExtraDataset(shapes_options.data, 0.25),
        dataset,
        Split(more, nothing, "random", 1, 0.0),
    )
    split = Split(few, nothing, "random", 1, 0.0)
    return combine(dataset, split, [extra], balance=1.0).sources


def codes_of(loader: CachedLoader) -> torch.Tensor:
    return torch.stack([codes[:, 0] for _, codes in loader])


def test_every_data_set_is_balanced_within_its_share(sources) -> None:
    loader = CachedLoader(sources, sources[0].train, 16, train=True, seed=1)
    main, extra = Counter(), Counter()
    for epoch in range(30):
        loader.start_epoch("stage-1", epoch)
        codes = codes_of(loader)
        assert codes.shape == (3, 16), "an epoch is as long as one pass, and drops the rest"
        main.update(codes[:, :12].flatten().tolist())
        extra.update(codes[:, 12:].flatten().tolist())
    assert [main[code] / 1080 for code in range(3)] == pytest.approx([1 / 3] * 3, abs=0.03)
    assert [extra[code] / 360 for code in range(2)] == pytest.approx([1 / 2] * 2, abs=0.06)


def test_balanced_batches_depend_on_seed_stage_and_epoch_alone(sources) -> None:
    def batches(first: int, epoch: int = 2) -> torch.Tensor:
        loader = CachedLoader(sources, sources[0].train, 16, train=True, seed=1)
        loader.start_epoch("stage-1", epoch, first_batch=first)
        return torch.stack([images for images, _ in loader])

    whole = batches(0)
    assert torch.equal(whole[2:], batches(2))
    assert not torch.equal(whole, batches(0, epoch=3))


def test_processes_share_one_balanced_draw(sources) -> None:
    def loader() -> CachedLoader:
        made = CachedLoader(sources, sources[0].train, 16, train=True, seed=1)
        made.start_epoch("stage-1", 0)
        made.randomize()
        return made

    parts = [SeededDistributedDL(loader(), rank=rank, world_size=2).get_idxs() for rank in (0, 1)]
    whole = loader().get_idxs()
    assert len(whole) == 45
    assert (parts[0] + parts[1])[:45] == whole, "the 46th fills up the second half"


def test_validation_takes_images_as_they_come(sources) -> None:
    everything = np.arange(90)
    loader = CachedLoader(sources, everything, 32, train=False, seed=1)
    seen = torch.cat([codes[:, 0] for _, codes in loader]).numpy()
    assert np.array_equal(seen, sources[0].targets[everything, 0])


def test_power_outside_its_range_is_refused(shapes_options: TrainingOptions) -> None:
    with pytest.raises(UsageError, match=r"balance: expected a power from 0 to 1, got 1\.5"):
        replace(shapes_options, balance=1.5)
