from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from shopwindow.data.dataset import Dataset, load_dataset
from shopwindow.data.split import split_images
from shopwindow.errors import DataError, UsageError
from shopwindow.imaging.preprocess import ResizeRule

Make = Callable[..., Dataset]


@pytest.fixture
def make_dataset(tmp_path: Path, picture_bytes: Callable[[int], bytes], rule: ResizeRule) -> Make:
    """Return a function that makes a data set of (label, picture) pairs, in a table."""

    def make(images: Sequence[tuple[str, int]], *, backwards: bool = False) -> Dataset:
        folder = tmp_path / "shop"
        folder.mkdir(exist_ok=True)
        lines = []
        for number, (label, seed) in enumerate(images):
            (folder / f"{number:04}.png").write_bytes(picture_bytes(seed))
            lines.append(f"{number:04},{label}\n")
        lines = lines[::-1] if backwards else lines
        (folder / "labels.csv").write_text("id,label\n" + "".join(lines))
        return load_dataset(
            folder, rule=rule, min_images=1, cache_dir=tmp_path / "cache", progress=False
        )

    return make


def different(**counts: int) -> list[tuple[str, int]]:
    """Return so many images of each label, every one another picture."""
    labels = [label for label, count in counts.items() for _ in range(count)]
    return [(label, seed) for seed, label in enumerate(labels)]


def labels_of(dataset: Dataset, indices: np.ndarray) -> dict[str, int]:
    codes = dataset.codes["label"][indices]
    counts = np.bincount(codes, minlength=len(dataset.vocabularies["label"])).tolist()
    return dict(zip(dataset.vocabularies["label"], counts, strict=True))


def test_parts_are_disjoint_and_cover_everything(make_dataset: Make) -> None:
    dataset = make_dataset(different(a=30, b=20))
    for method in ("grouped", "random"):
        split = split_images(dataset, method=method)
        assert sorted([*split.train, *split.valid]) == list(range(50))
        assert len(split.valid) == 10
        assert split.train.dtype == split.valid.dtype == np.int64
        assert (split.method, split.seed, split.valid_fraction) == (method, 42, 0.2)


def test_each_label_gives_its_share(make_dataset: Make) -> None:
    dataset = make_dataset(different(a=100, b=50, c=10, d=5))
    split = split_images(dataset)
    assert labels_of(dataset, split.valid) == {"a": 20, "b": 10, "c": 2, "d": 1}


def test_rare_labels_are_on_both_sides(make_dataset: Make) -> None:
    dataset = make_dataset(different(a=60, b=2, c=3, d=4))
    split = split_images(dataset, valid_fraction=0.05)
    assert all(labels_of(dataset, split.valid).values())
    split = split_images(dataset, valid_fraction=0.95)
    assert all(labels_of(dataset, split.train).values())


def test_label_with_one_image_is_learnt(make_dataset: Make) -> None:
    dataset = make_dataset(different(a=20, b=1))
    for seed in range(10):
        assert labels_of(dataset, split_images(dataset, seed=seed).train)["b"] == 1


def test_duplicates_are_on_one_side_for_any_seed(make_dataset: Make) -> None:
    images = [("a" if seed % 2 else "b", seed % 30) for seed in range(90)]
    dataset = make_dataset(images)
    groups = dataset.duplicate_groups()
    for seed in range(20):
        split = split_images(dataset, seed=seed)
        assert not set(groups[split.train]) & set(groups[split.valid])
        assert 12 <= len(split.valid) <= 24


def test_random_split_takes_no_heed_of_duplicates(make_dataset: Make) -> None:
    dataset = make_dataset([("a", seed % 30) for seed in range(90)])
    groups = dataset.duplicate_groups()
    split = split_images(dataset, method="random")
    assert set(groups[split.train]) & set(groups[split.valid])


def test_duplicates_with_different_labels_are_on_one_side(make_dataset: Make) -> None:
    images = [*different(a=40), *(("b", seed) for seed in range(20, 32))]
    dataset = make_dataset(images)
    groups = dataset.duplicate_groups()
    for seed in range(10):
        split = split_images(dataset, seed=seed)
        assert not set(groups[split.train]) & set(groups[split.valid])
        assert labels_of(dataset, split.valid)["b"] == 2
        assert 7 <= labels_of(dataset, split.valid)["a"] <= 9


def test_label_that_is_all_one_picture_is_learnt(make_dataset: Make) -> None:
    dataset = make_dataset([*different(a=20), *[("b", 99)] * 6])
    for seed in range(10):
        assert labels_of(dataset, split_images(dataset, seed=seed).train)["b"] == 6


def test_label_of_two_large_groups_is_on_both_sides(make_dataset: Make) -> None:
    dataset = make_dataset([*different(a=20), *[("b", 98)] * 6, *[("b", 99)] * 5])
    split = split_images(dataset)
    assert labels_of(dataset, split.valid)["b"] == 5
    assert labels_of(dataset, split.train)["b"] == 6


def test_order_of_the_rows_plays_no_part(make_dataset: Make) -> None:
    images = [("a" if seed % 3 else "b", seed % 40) for seed in range(60)]
    forwards = make_dataset(images)
    backwards = make_dataset(images, backwards=True)
    for method in ("grouped", "random"):
        one = split_images(forwards, method=method)
        other = split_images(backwards, method=method)
        assert one.digest(forwards) == other.digest(backwards)


def test_seed_decides(make_dataset: Make) -> None:
    dataset = make_dataset(different(a=40, b=20))
    for method in ("grouped", "random"):
        one, other, again = (
            split_images(dataset, seed=seed, method=method).digest(dataset) for seed in (1, 2, 1)
        )
        assert one == again != other


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"valid_fraction": 0}, "expected between 0 and 1, got 0"),
        ({"valid_fraction": 1.0}, "expected between 0 and 1, got 1.0"),
        ({"seed": -1}, "expected 0 or more, got -1"),
        ({"method": "stratified"}, "expected grouped or random, got 'stratified'"),
    ],
)
def test_arguments_out_of_range_are_refused(
    make_dataset: Make, options: dict[str, object], sentence: str
) -> None:
    dataset = make_dataset(different(a=4))
    with pytest.raises(UsageError, match=sentence):
        split_images(dataset, **options)  # type: ignore[arg-type]


def test_data_that_cannot_be_split_is_refused(make_dataset: Make) -> None:
    with pytest.raises(DataError, match="none would be left to judge by"):
        split_images(make_dataset([("a", 1)] * 5))
    with pytest.raises(DataError, match="none would be left to learn from"):
        split_images(make_dataset(different(a=2)), method="random", valid_fraction=0.9)


def test_part_that_the_data_set_brings_judges(
    tmp_path: Path, write_pictures: Callable[..., None], rule: ResizeRule
) -> None:
    names = [
        f"{part}/{label}/{number}.png"
        for part in ("train", "valid", "test")
        for label in ("cat", "dog")
        for number in range(2)
    ]
    write_pictures(tmp_path / "pets", *names, "valid/fox/1.png")
    options = {"rule": rule, "cache_dir": tmp_path / "cache", "progress": False}
    dataset = load_dataset(tmp_path / "pets", with_test=False, **options)
    assert dataset.vocabularies["label"] == ("cat", "dog"), "no fox can be learned"
    split = split_images(dataset)
    assert (split.method, split.valid_fraction) == ("given", 0.5)
    assert {dataset.references[index] for index in split.valid} == {
        name for name in names if name.startswith("valid")
    }
    assert {dataset.references[index] for index in split.train} == {
        name for name in names if name.startswith("train")
    }
    # Whoever has the bundle finds the same part again, also beside the test part.
    everything = load_dataset(tmp_path / "pets", **options)
    assert len(everything) == 12
    record = split.as_record(dataset)
    again = split_images(everything, method=record["method"], seed=record["seed"])
    assert again.digest(everything) == record["digest"]
    with pytest.raises(UsageError, match="--split random: expected data without a validation"):
        split_images(dataset, method="random")


def test_picture_on_both_sides_of_a_given_split_is_told(
    tmp_path: Path, write_pictures: Callable[..., None], rule: ResizeRule
) -> None:
    write_pictures(tmp_path / "pets", "train/cat/1.png", "train/dog/2.png", "test/dog/3.png")
    copy = (tmp_path / "pets/train/cat/1.png").read_bytes()
    (tmp_path / "pets/test/cat").mkdir()
    (tmp_path / "pets/test/cat/1.png").write_bytes(copy)
    dataset = load_dataset(
        tmp_path / "pets", rule=rule, min_images=1, cache_dir=tmp_path / "cache", progress=False
    )
    assert dataset.notes[-1] == (
        "1 of the 2 held-out images show the same picture as a training image, "
        "so the grade will be too good"
    )
