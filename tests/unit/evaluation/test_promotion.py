"""When a new bundle goes into service, when not, and which images decide it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper
from painting import PAINTS, MakeBundle, write_photo

from colour_bundle import colour_graph, write_colour_bundle
from shopwindow.bundle import Bundle, Threshold, read_bundle
from shopwindow.bundle.seen import SeenImages
from shopwindow.data.dataset import Dataset
from shopwindow.data.spec import DataSpec
from shopwindow.data.split import split_images
from shopwindow.errors import BundleError, PromotionError
from shopwindow.evaluation.promotion import PromotionReport, compare_for_promotion
from shopwindow.evaluation.significance import (
    PairedCounts,
    PairedTest,
    bootstrap_interval,
    mcnemar_exact,
)

SWAPPED = ("blue", "green", "red", "black", "white")


def judged(in_service: Bundle, new: Bundle, photos: Path, **options: Any) -> PromotionReport:
    specs = (DataSpec(photos, min_images=1),) * 2
    return compare_for_promotion(in_service, new, photos, specs=specs, progress=False, **options)


def compared(images: int, only_a: int, only_b: int) -> PairedTest:
    counts = PairedCounts(images, images - only_a - only_b, only_a, only_b)
    return PairedTest(counts, bootstrap_interval(counts), mcnemar_exact(only_a, only_b))


@pytest.mark.parametrize(
    ("held_out", "corrections", "reason"),
    [
        (compared(1000, 10, 10), None, None),
        # 0.4 points less, which may be chance: let pass.
        (compared(1000, 14, 10), None, None),
        # 0.6 points less, which may be chance too, but is more than the margin.
        (
            compared(1000, 16, 10),
            None,
            "loses 0.60 points on the held-out images; at most 0.5 may be",
        ),
        # 0.3 points less, which is no chance on so many images.
        (compared(10_000, 40, 10), None, "worse on the held-out images, by 0.30 points"),
        (compared(1000, 10, 30), compared(8, 3, 3), None),
        # Better on the whole, but what people have put right is wrong again.
        (compared(1000, 10, 30), compared(8, 1, 0), "right on 7 of 8 corrections, and the one in"),
    ],
)
def test_rule_is_what_the_documentation_says(
    held_out: PairedTest, corrections: PairedTest | None, reason: str | None
) -> None:
    found = PromotionReport(held_out, corrections, 0.5, (), ("", "")).objections
    assert len(found) == (reason is not None)
    assert not reason or reason in found[0]


def test_only_the_held_out_images_decide(photos: Path, make_bundle: MakeBundle) -> None:
    good, swapped = make_bundle("good"), make_bundle("swapped", SWAPPED)
    found = judged(swapped, good, photos)
    assert found.held_out.counts == PairedCounts(images=18, both=6, only_a=0, only_b=12)
    assert not found.objections
    assert "it is worse on the held-out images" in judged(good, swapped, photos).objections[0]


def test_bundle_that_learned_from_held_out_images_is_refused(
    photos: Path, make_bundle: MakeBundle
) -> None:
    in_service, other = make_bundle("service"), make_bundle("other", seed=2)
    with pytest.raises(PromotionError, match=r"not learned from the 18 held-out images, but"):
        judged(in_service, other, photos)


def test_bundle_whose_training_is_not_told_is_refused(
    photos: Path, make_bundle: MakeBundle
) -> None:
    in_service, silent = make_bundle("service"), make_bundle("silent", data={})
    with pytest.raises(PromotionError, match="may have from 18 of them; train it with"):
        judged(in_service, silent, photos)
    with pytest.raises(PromotionError, match="expected a bundle in service whose card names"):
        judged(silent, in_service, photos)


def test_data_that_has_changed_is_refused(photos: Path, make_bundle: MakeBundle) -> None:
    in_service, new = make_bundle("service"), make_bundle("new")
    for number in range(12, 15):
        write_photo(photos / "red" / f"{number}.png", PAINTS["red"], number)
    with pytest.raises(PromotionError, match="give the data as it was then"):
        judged(in_service, new, photos)


def test_held_out_images_are_known_in_data_that_grew_and_was_renamed(
    photos: Path, photo_set: Dataset, make_bundle: MakeBundle
) -> None:
    split = split_images(photo_set, seed=1, valid_fraction=0.5)
    digests = photo_set.digests
    seen = SeenImages(digests[split.train], digests[split.valid]).as_json()
    record = {"split": split.as_record(photo_set), **seen}
    in_service, same = make_bundle("service", data=record), make_bundle("same", data=record)
    for path in sorted(photos.rglob("*.png")):
        path.rename(path.with_name(f"x{path.name}"))
    for number in range(12, 15):  # from which a new one may well have learned
        write_photo(photos / "red" / f"{number}.png", PAINTS["red"], number)
    assert judged(in_service, same, photos).held_out.counts.images == len(split.valid)
    swapped = SeenImages(digests[split.valid], digests[split.train]).as_json()
    other = make_bundle("other", data=record | swapped)
    with pytest.raises(PromotionError, match="may have from 18 of them"):
        judged(in_service, other, photos)


def test_corrections_decide_too(photos: Path, make_bundle: MakeBundle, tmp_path: Path) -> None:
    write_photo(tmp_path / "given" / "images" / "1.png", (0, 0, 0), 3)
    (tmp_path / "given" / "corrections.csv").write_text("image,label\nimages/1.png,black\n")
    # Both are right on all held-out images; one has black and white the wrong way round.
    good = make_bundle("good")
    turned = make_bundle("turned", ("red", "green", "blue", "white", "black"))
    assert not judged(turned, good, photos, corrections=tmp_path / "given").objections
    found = judged(good, turned, photos, corrections=tmp_path / "given")
    assert found.objections == ("it is right on 0 of 1 correction, and the one in service on 1",)
    assert "on 1 correction" in "\n".join(found.lines())


def test_picture_of_nothing_is_right_where_the_answer_is_not_sure(
    photos: Path, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    write_photo(tmp_path / "given" / "images" / "1.png", (0, 0, 0), 3)
    table = tmp_path / "given" / "corrections.csv"
    table.write_text("image,label\nimages/1.png,(none of these)\n")
    bold = make_bundle("bold")
    doubting = make_bundle("doubting", threshold=Threshold(0.9, 1.0, 0.0))
    found = judged(bold, doubting, photos, corrections=tmp_path / "given")
    assert found.corrections is not None
    assert found.corrections.counts == PairedCounts(images=1, both=0, only_a=0, only_b=1)


def test_bundle_that_loads_but_cannot_run_is_refused_in_a_sentence(
    photos: Path, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    graph = colour_graph()
    # 18 images of 8 x 6 x 3 values cannot be cut in sevens, which nobody knows before they come.
    graph.initializer.append(numpy_helper.from_array(np.array([-1, 7]), "sevens"))
    graph.initializer.append(numpy_helper.from_array(np.array([0, 1]), "all_axes"))
    graph.node[3].output[0] = "whole"
    new_nodes = [
        helper.make_node("Reshape", ["scaled", "sevens"], ["cut"]),
        helper.make_node("ReduceSum", ["cut", "all_axes"], ["sum"], keepdims=0),
        helper.make_node("Add", ["whole", "sum"], ["colour_logits"]),
    ]
    for position, node in enumerate(new_nodes):
        graph.node.insert(4 + position, node)
    in_service = make_bundle("service")
    metadata = json.dumps(in_service.info.as_json())
    new = read_bundle(write_colour_bundle(tmp_path / "n.onnx", metadata=metadata, graph=graph))
    with pytest.raises(BundleError, match=r"n\.onnx: expected a bundle that answers"):
        judged(in_service, new, photos)


def test_what_clients_would_miss_is_said(photos: Path, make_bundle: MakeBundle) -> None:
    in_service = make_bundle("service")
    new = make_bundle("new", ("red", "green", "navy", "black", "white"))
    found = judged(in_service, new, photos)
    assert any("lacks 1 label (blue)" in note for note in found.notes)
    # An image of a label that it lacks is one that it is wrong on, not one that is left out.
    assert found.held_out.counts.only_a == 6
