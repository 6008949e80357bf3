"""The recipe `probe` from end to end: photos in, a bundle out that knows what it is worth."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawing import SHAPES, draw, write_drawings, write_table
from PIL import Image

from shopwindow.bundle import ACTIVATION_OUTPUT, EMBEDDING_OUTPUT, Bundle, read_bundle
from shopwindow.bundle.training_sample import read_sample
from shopwindow.cli import main
from shopwindow.data.spec import DataSpec
from shopwindow.errors import DataError, PromotionError, UsageError
from shopwindow.evaluation.comparison import compare_bundles
from shopwindow.evaluation.grading import grade_bundle
from shopwindow.evaluation.leakage import out_of_fold_answers
from shopwindow.evaluation.promotion import compare_for_promotion
from shopwindow.evaluation.report import Evaluation
from shopwindow.inference.prediction import Prediction
from shopwindow.inference.predictor import Predictor, load_predictor
from shopwindow.probe import probe_run
from shopwindow.probe.backbone import bundled_backbone_path, open_backbone
from shopwindow.probe.probe_run import CROSS_VALIDATED_BELOW, train_probe
from shopwindow.runs import Run, TrainingOptions, settle_options

Rows = list[dict[str, str]]
Train = Callable[..., Bundle]
IMAGES = 60
EXAMPLES = bundled_backbone_path().parent / "examples" / "fashion"  # photos of clothes


@pytest.fixture(scope="module")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Rows]:
    """A folder of 60 drawings, and a row for each with `file`, `shape` and `colour`."""
    folder = tmp_path_factory.mktemp("drawings")
    return folder, write_drawings(folder, IMAGES)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where features are kept, so that each drawing goes through the backbone once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def train(drawings: tuple[Path, Rows], cache: Path, tmp_path: Path) -> Train:
    """Return a function that trains on the drawings, with these labels and options."""

    def fit(rows: Rows | None = None, *, held_out: bool = False, **options: Any) -> Bundle:
        folder, usual = drawings
        data = options.get("data", folder)
        number = len(list(tmp_path.glob("run-*")))
        # Beside the images, where whoever grades the bundle looks for a table of this name.
        table = write_table(data / f"{tmp_path.name}-{number}.csv", rows or usual)
        given = {
            "data": data,
            "labels_file": table,
            "image_column": "file",
            "label_column": "shape",
            "out": tmp_path / f"run-{number}",
            "name": "shapes",
            "cache_dir": cache,
            **options,
        }
        run = Run.create(settle_options(given))
        below = IMAGES if held_out else IMAGES + 1
        path = train_probe(run, engine="onnxruntime", cross_validated_below=below)
        return read_bundle(path)

    return fit


@pytest.fixture(scope="module")
def probed(
    drawings: tuple[Path, Rows], cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """A bundle of the drawings: `shape`, and `colour` where it is known."""
    folder, rows = drawings
    some = [row | {"colour": "" if n % 9 == 0 else row["colour"]} for n, row in enumerate(rows)]
    out = tmp_path_factory.mktemp("probed")
    options = TrainingOptions(
        data=folder,
        labels_file=write_table(folder / "shapes.csv", some),
        image_column="file",
        label_column="shape",
        also=("colour",),
        out=out / "run",
        name="shapes",
        cache_dir=cache,
    )
    return read_bundle(train_probe(Run.create(options), engine="onnxruntime"))


def by_chance(rows: Rows, seed: int = 1) -> Rows:
    """The same pictures with labels that no one could learn: two in three are `this`."""
    labels = np.random.default_rng(seed).permutation(["this", "this", "that"] * (len(rows) // 3))
    return [row | {"shape": str(label)} for row, label in zip(rows, labels, strict=True)]


def grade_on(bundle: Bundle, folder: Path, cache: Path) -> Evaluation:
    return grade_bundle(bundle, folder, cache_dir=cache, progress=False, engine="onnxruntime")


# What is written.


def test_bundle_is_right_on_drawings_that_it_has_not_seen(probed: Bundle) -> None:
    predictor = Predictor(probed, engine="onnxruntime")
    images = [draw(shape, "red", 1000 + n) for n, shape in enumerate(SHAPES * 4)]
    prepared = np.stack([np.asarray(image.resize((192, 192))) for image in images])
    answers = predictor.predict_images(prepared)
    assert [one.label for one in answers] == list(SHAPES * 4)
    assert {one.attributes["colour"].label for one in answers} == {"red"}


def test_activation_map_lies_over_the_image_and_varies(probed: Bundle) -> None:
    predictor = Predictor(probed, engine="onnxruntime")
    image = np.asarray(draw("cross", "blue", 2000).resize((192, 192)))
    (found,) = predictor.probabilities(image[None], with_activation=True)[ACTIVATION_OUTPUT]
    assert found.shape == (6, 6)
    assert np.isfinite(found).all()
    assert found.std() > 0.01
    # Its mean is the lead of the answer's logit over the mean logit, but for the bias.
    assert found.mean() > 0


def test_bundle_carries_a_sample_of_the_embeddings_of_its_photos(
    probed: Bundle, drawings: tuple[Path, Rows]
) -> None:
    sample = read_sample(probed.info.data, probed.info.embedding)
    assert sample is not None
    assert len(sample) == IMAGES
    images = [(drawings[0] / row["file"]).read_bytes() for row in drawings[1][:5]]
    for answer in Predictor(probed, engine="onnxruntime").predict_bytes(images, embed=True):
        assert isinstance(answer, Prediction)
        assert (sample @ answer.embedding).max() > 0.99


def test_embedding_is_the_features_of_the_backbone_at_unit_length(probed: Bundle) -> None:
    predictor = Predictor(probed, engine="onnxruntime")
    images = np.stack([np.asarray(draw(s, "red", 2000).resize((192, 192))) for s in SHAPES])
    found = predictor.probabilities(images, with_embedding=True)[EMBEDDING_OUTPUT]
    features = open_backbone(engine="onnxruntime").features(images)
    assert found.shape == (len(SHAPES), probed.info.embedding) == features.shape
    expected = features / np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=0.002)


def test_card_says_what_it_stands_on(probed: Bundle) -> None:
    info = probed.info
    assert [(c.name, c.labels) for c in info.columns] == [
        ("shape", SHAPES),
        ("colour", ("blue", "red")),
    ]
    assert info.training["recipe"] == "probe"
    assert info.training["backbone"]["name"] == "EfficientNet-Lite0"
    assert info.data["train"] == IMAGES
    assert info.data["valid"] == 0
    assert info.quality["folds"] == 5
    assert info.quality["images"] == IMAGES
    assert info.quality["accuracy"] > 0.9
    assert info.quality["commonest"] == {"label": "circle", "share": 0.33333}
    assert info.quality["attributes"]["colour"]["accuracy"] > 0.95
    # Names and numbers, but no path of this machine.
    assert "/tmp" not in json.dumps(info.as_json())  # noqa: S108


def test_both_engines_answer_alike(probed: Bundle) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is an extra: pip install openvino")
    ours, theirs = (
        load_predictor(probed.path, engine=name) for name in ("onnxruntime", "openvino float32")
    )
    images = np.stack([np.asarray(draw(s, "red", 3000).resize((192, 192))) for s in SHAPES])
    a, b = (one.probabilities(images, with_activation=True) for one in (ours, theirs))
    assert a.keys() == b.keys()
    for name, rows in a.items():
        np.testing.assert_allclose(rows, b[name], atol=0.005, rtol=0.005)


# What the labels may be.


def test_label_of_two_images_takes_part_and_of_one_is_left_out_and_said(
    train: Train, drawings: tuple[Path, Rows], capsys: pytest.CaptureFixture[str]
) -> None:
    _, rows = drawings
    kinds = dict.fromkeys((1, 4), "rare") | {7: "single"}
    bundle = train([row | {"shape": kinds.get(n, row["shape"])} for n, row in enumerate(rows)])
    assert bundle.info.main.labels == ("circle", "cross", "rare", "square")
    assert bundle.info.quality["images"] == IMAGES - 1
    said = capsys.readouterr().out
    assert "Few images of rare 2: " in said
    assert "Left out: 007.png (label with too few images: 'single' has 1 of 2)" in said


def test_label_sets_are_learned_from(train: Train, drawings: tuple[Path, Rows]) -> None:
    """A third of the round and the square ones are only said to be not crossed."""
    _, rows = drawings
    coarse = [
        row | {"shape": "circle|square"} if row["shape"] != "cross" and n % 4 == 0 else row
        for n, row in enumerate(rows)
    ]
    bundle = train(coarse)
    assert bundle.info.main.labels == SHAPES
    assert bundle.info.quality["images"] == IMAGES
    assert bundle.info.quality["accuracy"] > 0.85


def test_label_map_leads_to_other_labels_or_to_none(
    train: Train, drawings: tuple[Path, Rows], tmp_path: Path
) -> None:
    _, rows = drawings
    meanings = {"circle": ["round"], "square": ["edged"], "cross": []}
    (tmp_path / "map.json").write_text(json.dumps(meanings))
    bundle = train(label_map=tmp_path / "map.json")
    assert bundle.info.main.labels == ("edged", "round")
    assert bundle.info.data["read"]["label_map"] == meanings
    carried = out_of_fold_answers(bundle)
    assert carried is not None
    confidences = carried.answers["shape"].max(axis=1)
    nothing = np.array([row["shape"] == "cross" for row in rows])
    assert confidences[nothing].mean() < confidences[~nothing].mean() - 0.1


# What may not be learned from when it judges.


def twins(folder: Path, count: int) -> Rows:
    """Pairs of nearly the same drawing, each pair with a label of its own by chance."""
    folder.mkdir()
    rows = []
    labels = np.random.default_rng(5).permutation(["this", "that"] * (count // 2))
    for number, label in enumerate(labels):
        # Another drawing for each pair; the twin is turned over: another file, and no duplicate.
        image = draw(SHAPES[number % 3], ("red", "blue")[number % 2], 5000 + 7 * number)
        for side, twin in enumerate((image, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))):
            name = f"{number:03}-{side}.png"
            twin.save(folder / name)
            rows.append({"file": name, "shape": str(label), "by": str(number)})
    return rows


def test_group_column_keeps_twins_on_one_side(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = twins(tmp_path / "twins", 24)
    known = train(rows, data=tmp_path / "twins").info.quality["accuracy"]
    grouped = train(rows, data=tmp_path / "twins", group_column="by").info.quality["accuracy"]
    assert known > grouped + 0.15, "a twin in another fold tells the label"
    assert grouped < 0.7


def test_images_that_are_all_of_one_group_are_refused(
    train: Train, drawings: tuple[Path, Rows]
) -> None:
    _, rows = drawings
    with pytest.raises(DataError, match="at least two groups"):
        train([row | {"by": "me"} for row in rows], group_column="by")


def test_picture_of_another_data_set_does_not_give_a_judged_one_away(
    train: Train, drawings: tuple[Path, Rows], tmp_path: Path
) -> None:
    """The further data set has the same drawings, with the same labels that mean nothing."""
    folder, rows = drawings
    chance = by_chance(rows)
    again = tmp_path / "again"
    more = write_drawings(again, 30, first_seed=9000)
    for row in rows:  # as other files: a copy, saved anew
        Image.open(folder / row["file"]).save(again / f"copy-{row['file']}", compress_level=1)
    copies = [row | {"file": f"copy-{row['file']}"} for row in chance]
    write_table(again / "table.csv", [*copies, *by_chance(more, seed=2)])
    (tmp_path / "again.toml").write_text(
        'data = "again/table.csv"\nimage_column = "file"\nlabel_column = "shape"\nshare = 0.4\n'
    )
    bundle = train(chance, extras=(tmp_path / "again.toml",))
    assert bundle.info.quality["accuracy"] < 0.75
    (record,) = bundle.info.data["also"]
    assert record["share"] == 0.4
    (figures,) = bundle.info.quality["also"]
    assert figures["images"] == record["valid"]


def test_second_data_set_has_figures_of_its_own(train: Train, tmp_path: Path) -> None:
    rows = write_drawings(tmp_path / "more", 30, first_seed=7000)
    write_table(tmp_path / "more" / "table.csv", rows)
    (tmp_path / "more.toml").write_text(
        'data = "more/table.csv"\nimage_column = "file"\nlabel_column = "shape"\nshare = 0.3\n'
    )
    bundle = train(extras=(tmp_path / "more.toml",))
    (record,), (figures,) = bundle.info.data["also"], bundle.info.quality["also"]
    assert (record["images"], record["source"]) == (30, "table.csv")
    assert figures["images"] == record["valid"] > 0
    assert figures["accuracy"] > 0.8
    assert bundle.info.quality["images"] == IMAGES, "those of DATA"


def test_corrections_are_learned_and_told(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "given"
    (folder / "images").mkdir(parents=True)
    grounds = np.random.default_rng(1).integers(0, 256, (4, 8, 8, 3), np.uint8)
    rows = []
    for number, ground in enumerate(grounds):
        name = f"images/{number}.png"
        Image.fromarray(ground).resize((64, 64), Image.Resampling.NEAREST).save(folder / name)
        rows.append({"image": name, "label": "cross"})
    write_table(folder / "corrections.csv", rows)
    plain, taught = train(), train(feedback=folder)
    assert "4 corrections to learn from" in capsys.readouterr().out
    assert taught.info.data["corrections"] == {"train": 4, "held_back": 0, "share": 0.2}
    images = np.stack(
        [np.asarray(Image.open(folder / r["image"]).resize((192, 192))) for r in rows]
    )
    shares = [
        Predictor(one, engine="onnxruntime").probabilities(images)["shape"][:, 1].mean()
        for one in (plain, taught)
    ]
    assert shares[1] > max(0.7, shares[0])


# What a person is told, and what is done with a model that is worth nothing.


def test_labels_that_no_one_could_learn_are_told_and_not_promoted(
    train: Train,
    drawings: tuple[Path, Rows],
    cache: Path,
    tmp_path: Path,
    probed: Bundle,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, rows = drawings
    bundle = train(by_chance(rows))
    quality = bundle.info.quality
    assert quality["accuracy"] <= quality["commonest"]["share"]
    said = capsys.readouterr().out
    assert "THIS MODEL HAS LEARNED NOTHING USEFUL: always predicting 'this' would be" in said
    assert "Serve it" not in said
    reading = DataSpec.from_record(folder, bundle.info.data)
    with pytest.raises(PromotionError, match="expected a model that has learned something"):
        compare_for_promotion(probed, bundle, folder, specs=(reading, reading), progress=False)


def test_good_model_is_told_how_to_serve_it(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = train()
    said = capsys.readouterr().out
    assert "60 images (by file), 3 labels (shape); graded by cross-validation" in said
    assert "cross-validated on 60 images (95 % interval " in said
    assert said.endswith(f"\nServe it: shopwindow serve --model {bundle.path}\n")
    assert "NOTHING" not in said


def test_grade_on_the_training_images_is_that_of_the_card(
    train: Train, drawings: tuple[Path, Rows], cache: Path, tmp_path: Path
) -> None:
    """Also where the head has learned labels by heart that mean nothing."""
    folder, rows = drawings
    bundle = train(by_chance(rows, seed=4))
    graded = grade_on(bundle, folder, cache)
    assert graded.images == IMAGES
    assert graded.grades.accuracy == pytest.approx(bundle.info.quality["accuracy"], abs=1e-4)
    assert graded.grades.accuracy < 0.75
    assert graded.notes[0].startswith("the model was trained on 60 of these images")


def test_as_many_answers_are_sure_as_the_card_says(
    probed: Bundle, drawings: tuple[Path, Rows], cache: Path
) -> None:
    graded = grade_on(probed, drawings[0], cache)
    assert graded.sure.coverage == pytest.approx(probed.info.threshold.coverage, abs=1e-6)


def test_images_that_are_new_are_asked_as_a_server_would(
    probed: Bundle, tmp_path: Path, cache: Path
) -> None:
    rows = write_drawings(tmp_path / "new", 12, first_seed=8000)
    write_table(tmp_path / "new" / "shapes.csv", rows)
    graded = grade_on(probed, tmp_path / "new", cache)
    assert graded.images == 12
    assert graded.grades.accuracy > 0.9
    assert "none of these files is one of the 60" in graded.notes[0]


def test_two_probes_are_compared_and_the_better_one_is_promoted(
    train: Train, drawings: tuple[Path, Rows], cache: Path
) -> None:
    folder, rows = drawings
    # One in three labels of the first is wrong, and so its answers are by far not as good.
    half = [
        row | {"shape": SHAPES[(n + 1) % 3] if n % 7 in (0, 3) else row["shape"]}
        for n, row in enumerate(rows)
    ]
    worse, better = train(half), train(rows)
    assert worse.info.quality["accuracy"] < better.info.quality["accuracy"]
    reading = DataSpec.from_record(folder, better.info.data)
    shared: dict[str, Any] = {
        "specs": (reading, reading),
        "cache_dir": cache,
        "progress": False,
        "engine": "onnxruntime",
    }
    found = compare_bundles(worse, better, folder, **shared)
    assert found.comparison.overall.counts.images == IMAGES
    assert found.comparison.overall.counts.difference >= 0
    judged = compare_for_promotion(worse, better, folder, **shared)
    assert not judged.objections
    assert judged.held_out.counts.images == IMAGES


# Beginning again, and going on.


def test_training_starts_from_a_probe_with_its_labels_and_options(
    train: Train, probed: Bundle, drawings: tuple[Path, Rows], cache: Path
) -> None:
    folder, _ = drawings
    table = folder / "shapes.csv"
    bundle = train(start_from=probed.path, labels_file=table)
    assert bundle.info.columns == probed.info.columns, "colour too, which was not asked for again"
    assert bundle.info.training["started_from"]["sha256"] == probed.sha256
    spec = DataSpec.from_record(folder, probed.info.data)
    judged = compare_for_promotion(
        probed,
        bundle,
        folder,
        specs=(spec, spec),
        cache_dir=cache,
        progress=False,
        engine="onnxruntime",
    )
    assert judged.held_out.counts.images == IMAGES
    assert not judged.objections


def test_other_labels_than_those_it_starts_from_are_refused(
    train: Train, probed: Bundle, drawings: tuple[Path, Rows], tmp_path: Path
) -> None:
    _, rows = drawings
    renamed = [row | {"shape": row["shape"].replace("cross", "star")} for row in rows]
    table = write_table(tmp_path / "shapes.csv", renamed)
    with pytest.raises(UsageError, match="shape lacks cross and shape has star as well"):
        train(start_from=probed.path, labels_file=table)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"arch": "resnet18"}, "arch: expected none, as .* was trained, got resnet18"),
        ({"seed": 7}, "seed: expected 42"),
        ({"also": ("file",)}, "also: expected colour"),
    ],
)
def test_what_must_agree_with_the_start_cannot_be_given_otherwise(
    train: Train, probed: Bundle, drawings: tuple[Path, Rows], option: dict[str, Any], words: str
) -> None:
    table = drawings[0] / "shapes.csv"
    with pytest.raises(UsageError, match=words):
        train(start_from=probed.path, labels_file=table, **option)


def test_run_that_was_stopped_says_how_to_go_on_and_ends_in_the_same_bundle(
    drawings: tuple[Path, Rows],
    cache: Path,
    tmp_path: Path,
    probed: Bundle,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, _ = drawings
    words = ["--labels", "shapes.csv", "--image-column", "file", "--label-column", "shape"]
    words += ["--also", "colour", "--name", "shapes", "--cache-dir", str(cache)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe_run, "fit_heads", stop)
        assert main(["train", str(folder), *words, "--out", str(tmp_path / "run")]) == 130
    said = capsys.readouterr().err
    assert f"continue with: shopwindow train --resume --out {tmp_path / 'run'}" in said
    assert main(["train", "--resume", "--out", str(tmp_path / "run")]) == 0
    bundle = read_bundle(tmp_path / "run" / "model.onnx")
    assert bundle.info.quality == probed.info.quality
    assert not list((tmp_path / "run").glob(".*")), "nothing half-written is left"


def test_stopped_run_goes_on_where_the_data_lies_now(
    drawings: tuple[Path, Rows], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here, there, run = tmp_path / "here", tmp_path / "there", tmp_path / "run"
    shutil.copytree(drawings[0], here)
    words = ["--labels", str(here / "shapes.csv"), "--image-column", "file"]
    words += ["--label-column", "shape", "--cache-dir", str(tmp_path / "cache")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe_run, "fit_heads", stop)
        assert main(["train", str(here), *words, "--out", str(run)]) == 130
    here.rename(there)
    assert main(["train", "--resume", "--out", str(run)]) == 2
    assert f"shopwindow train DATA --resume --out {run}" in capsys.readouterr().err
    assert main(["train", str(there), "--resume", "--out", str(run)]) == 0
    assert read_bundle(run / "model.onnx").info.name == "here", "as it was begun"
    next(there.glob("*.png")).unlink()
    assert main(["train", str(there), "--resume", "--out", str(run)]) == 1
    assert "or other labels; bring those back" in capsys.readouterr().err


def stop(*_: Any, **__: Any) -> None:
    """What Ctrl-C does."""
    raise KeyboardInterrupt


def test_run_does_not_go_on_with_other_labels(
    train: Train, drawings: tuple[Path, Rows], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, rows = drawings
    bundle = train()
    (table,) = folder.glob(f"{tmp_path.name}-*.csv")
    write_table(table, [*rows[:-1], rows[-1] | {"shape": "circle"}])
    assert main(["train", "--resume", "--out", str(bundle.path.parent)]) == 1
    assert "images and their labels that the run in" in capsys.readouterr().err


def test_calibrating_changes_the_carried_answers_too(
    train: Train, drawings: tuple[Path, Rows], cache: Path, tmp_path: Path
) -> None:
    bundle = train(by_chance(drawings[1], seed=4))
    others = write_drawings(tmp_path / "others", 60, first_seed=7000)
    write_table(tmp_path / "others" / "shapes.csv", by_chance(others, seed=5))
    out = tmp_path / "calibrated.onnx"
    columns = ["--labels", "shapes.csv", "--image-column", "file", "--label-column", "shape"]
    others_of = [str(bundle.path), str(tmp_path / "others"), *columns]
    assert main(["calibrate", *others_of, "--out", str(out)]) == 0
    asked = [Predictor(one, engine="onnxruntime") for one in (bundle, read_bundle(out))]
    images = np.stack([np.asarray(draw("cross", "red", 9).resize((192, 192)))] * 2)
    # What the graph does to an answer is what happened to those that it carries.
    (before, *_), (after, *_) = (one.probabilities(images)["shape"] for one in asked)
    factor = np.log(after[0] / after[1]) / np.log(before[0] / before[1])
    old, new = (out_of_fold_answers(one) for one in (bundle, read_bundle(out)))
    assert old is not None
    assert new is not None
    (was, *_), (now, *_) = (one.answers["shape"] for one in (old, new))
    assert abs(factor - 1) > 0.02
    assert np.log(now[0] / now[1]) / np.log(was[0] / was[1]) == pytest.approx(factor, abs=0.05)


# Where there are enough images.


def test_of_many_images_a_fifth_is_held_out(
    train: Train,
    drawings: tuple[Path, Rows],
    cache: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, _ = drawings
    bundle = train(held_out=True)
    info = bundle.info
    assert (info.data["train"], info.data["valid"]) == (48, 12)
    assert "folds" not in info.quality
    assert info.quality["images"] == 12
    assert info.quality["accuracy"] > 0.8
    assert out_of_fold_answers(bundle) is None
    said = capsys.readouterr().out
    assert "48 to train on, 12 to evaluate on" in said
    assert "right, on 12 images that it has not learned from" in said
    graded = grade_on(bundle, folder, cache)
    assert graded.images == 12
    assert graded.grades.accuracy == pytest.approx(info.quality["accuracy"], abs=1e-4)


def test_held_out_images_are_not_learned_from(train: Train, drawings: tuple[Path, Rows]) -> None:
    bundle = train(by_chance(drawings[1]), held_out=True)
    assert bundle.info.quality["accuracy"] < 0.85
    assert CROSS_VALIDATED_BELOW == 1000, "by default"


# Commands that are for networks, or for images that were held out.


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("export {run}", "a linear probe writes its bundle itself: "),
        ("export {run} --int8", "a linear probe writes its bundle itself: shopwindow export "),
        ("export {run}/model.onnx {data} --int8", "expected a bundle that held images out"),
        (
            "calibrate {run}/model.onnx {data} --labels {table} --image-column file "
            "--label-column shape --out {run}/calibrated.onnx",
            "expected images that shapes has not learned from",
        ),
    ],
)
def test_command_that_cannot_serve_a_probe_says_so(
    arguments: str,
    expected: str,
    probed: Bundle,
    drawings: tuple[Path, Rows],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, _ = drawings
    run, table = probed.path.parent, folder / "shapes.csv"
    words = arguments.format(run=run, data=folder, table=table).split()
    assert main(words) in (1, 2)
    said = capsys.readouterr().err
    assert expected in said
    assert said.count("\n") == 1


def test_run_of_a_probe_is_graded_as_its_bundle(
    probed: Bundle, drawings: tuple[Path, Rows], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = drawings
    table = str(folder / "shapes.csv")
    words = ["--labels", table, "--image-column", "file", "--label-column", "shape"]
    report = ["--report", str(tmp_path / "report")]
    assert main(["evaluate", str(probed.path.parent), str(folder), *words, *report]) == 0
    assert "the model was trained on 60 of these images" in capsys.readouterr().out


def test_pictures_of_something_else_are_unknown_and_fresh_drawings_are_not(
    probed: Bundle, tmp_path: Path
) -> None:
    novelty = probed.info.novelty
    assert novelty is not None
    assert [(one.images, one.source) for one in novelty.known] == [(IMAGES, "drawings0")]
    predictor = Predictor(probed, engine="onnxruntime")
    write_drawings(tmp_path / "fresh", 30, first_seed=1000)
    fresh = [path.read_bytes() for path in sorted((tmp_path / "fresh").iterdir())]
    photos = [path.read_bytes() for path in sorted(EXAMPLES.glob("*.[jw]*"))]
    answers = predictor.predict_bytes(fresh), predictor.predict_bytes(photos)
    known = [[one.known for one in each if isinstance(one, Prediction)] for each in answers]
    assert np.mean(known[0]) > 0.8
    assert np.mean(known[1]) < 0.3
