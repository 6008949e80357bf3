"""What the bundled model can do, on the parts of its data that it has not learnt from.

    python benchmarks/model.py CATALOGUE PHONES [--nothing FOLDER ...] [--write PAGE]

CATALOGUE and PHONES are the folders that scripts/train-fashion trains on. Each is graded through
the predictor that serves the model, as `shopwindow evaluate` does, with onnxruntime; no picture
goes into the page.
The folders of `--nothing` hold pictures that show no clothes, so the model should not be sure.
Those on the page are Debian 12's: animals, food, naturalforces, plants, space, symbols, town and
vehicles in /usr/share/tuxpaint/stamps (package tuxpaint-stamps-default), and
/usr/share/backgrounds/gnome (package gnome-backgrounds). Other endings than those of PICTURES are
passed over.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sections import publish, table
from shopwindow.bundle import bundled_model_path, read_bundle
from shopwindow.data.label_sets import read_label_map
from shopwindow.data.spec import DataSpec
from shopwindow.errors import ImageError
from shopwindow.evaluation.grading import grade_bundle
from shopwindow.evaluation.report import Evaluation
from shopwindow.inference.engine import EngineName
from shopwindow.inference.predictor import Predictor
from shopwindow.plain_text import percent

CONFUSIONS, FAILURES = 20, 20
PICTURES = (".png", ".jpg", ".webp")
ENGINE: EngineName = "onnxruntime"  # as the bundle's own figures, and as without any extra


def main() -> None:
    """Grade the model on both kinds of photos, and print the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("catalogue", type=Path, help="folder of the catalogue")
    parser.add_argument("phones", type=Path, help="folder of the phone photos")
    parser.add_argument("--model", type=Path, default=bundled_model_path())
    parser.add_argument(
        "--nothing",
        type=Path,
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="pictures that show no clothes",
    )
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the text into this page")
    options = parser.parse_args()

    bundle = read_bundle(options.model)
    # First, as it is the quicker one, should a file be missing.
    phones = grade_bundle(
        bundle,
        options.phones,
        spec=DataSpec(
            options.phones,
            labels_file=Path("images.csv"),
            image_column="image",
            label_column="label",
            label_map=read_label_map(options.phones / "phone-labels.json"),
            group_column="sender_id",
        ),
        engine=ENGINE,
    )
    catalogue = grade_bundle(bundle, options.catalogue, engine=ENGINE)
    predictor = Predictor(bundle, engine=ENGINE)
    text = "\n\n".join(
        [
            f"## {bundle.info.name} {bundle.info.version}",
            f"SHA-256 `{bundle.sha256}`, {len(bundle.model) / 1e6:.1f} MB.",
            figures(catalogue, phones),
            *([nothing(predictor, options.nothing)] if options.nothing else []),
            attributes(catalogue),
            labels(catalogue),
            confusions(catalogue),
            failures(catalogue),
        ]
    )
    publish(text, options.write, "model")


def figures(catalogue: Evaluation, phones: Evaluation) -> str:
    """Return the main figures of both kinds of photos side by side."""
    both = (catalogue, phones)
    rows: list[list[object]] = [
        ["images", *(f"{one.grades.images:,}" for one in both)],
        ["right", *(percent(one.grades.accuracy, 2) for one in both)],
        [
            "95 % interval",
            *(" to ".join(percent(edge) for edge in one.grades.accuracy_interval) for one in both),
        ],
        ["right within the first three", *(percent(one.grades.top3_accuracy, 2) for one in both)],
        ["macro-F1", f"{catalogue.grades.macro_f1:.3f}", "–"],
        ["expected calibration error", *(f"{one.grades.ece:.3f}" for one in both)],
        ["sure", *(percent(one.sure.coverage) for one in both)],
        ["right where sure", *(percent(one.sure.precision, 2) for one in both)],
    ]
    return (
        "Catalogue photos: duplicates of an image are on the same side of the split. Phone photos: "
        "so are all photos of one sender, and an answer is right if it is one of the labels that "
        "the photo's coarse label allows.\n\n" + table(["", "catalogue", "phone"], rows)
    )


def nothing(predictor: Predictor, folders: list[Path]) -> str:
    """Return how often the model is not sure of pictures that show none of its labels.

    Unknown are those that are unlike all it has learned from; they are not sure either.
    """
    rows: list[tuple[str, list[int]]] = []
    for folder in folders:
        paths = sorted(one for one in folder.rglob("*") if one.suffix.lower() in PICTURES)
        answers = predictor.predict_bytes([path.read_bytes() for path in paths], top=1)
        read = [one for one in answers if not isinstance(one, ImageError)]
        if not read:
            raise SystemExit(f"--nothing: expected {' or '.join(PICTURES)} in {folder}, found none")
        doubted = sum(not one.sure for one in read)
        unknown = sum(one.known is False for one in read)
        rows.append((folder.name, [len(read), len(answers) - len(read), doubted, unknown]))
    sums = [sum(column) for column in zip(*(counts for _, counts in rows), strict=True)]
    rows.append(("together", sums))
    shares: list[list[object]] = [
        [name, count, unread, percent(doubted / count), percent(unknown / count)]
        for name, (count, unread, doubted, unknown) in rows
    ]
    known = predictor.bundle.info.novelty
    mistaken = ", ".join(
        f"{percent(one.unknown)} of {one.images:,} held-out photos of {one.source}"
        for one in (known.known if known is not None else ())
    )
    by_mistake = f"\n\nCalled unknown by mistake: {mistaken}." if mistaken else ""
    heads = ["folder", "pictures", "could not be read", "not sure", "unknown"]
    return "### Pictures that show no clothes\n\n" + table(heads, shares) + by_mistake


def attributes(catalogue: Evaluation) -> str:
    """Return how often each attribute was right."""
    rows: list[list[object]] = [
        [name, len(one.labels), percent(one.accuracy, 2), f"{one.ece:.3f}"]
        for name, one in catalogue.attributes.items()
    ]
    return "### Attributes\n\n" + table(["attribute", "labels", "right", "ECE"], rows)


def labels(catalogue: Evaluation) -> str:
    """Return the figures of each label, the least well found first."""
    scores = sorted(catalogue.grades.per_class, key=lambda score: (score.f1 or 0, score.label))
    rows: list[list[object]] = [
        [
            score.label,
            score.images,
            percent(score.precision),
            percent(score.recall),
            "–" if score.f1 is None else f"{score.f1:.2f}",
        ]
        for score in scores
    ]
    return "### Labels\n\n" + table(["label", "images", "precision", "recall", "F1"], rows)


def confusions(catalogue: Evaluation) -> str:
    """Return what is most often taken for what."""
    rows: list[list[object]] = [
        [pair.label, pair.taken_for, pair.images, percent(pair.share)]
        for pair in catalogue.grades.confusions[:CONFUSIONS]
    ]
    return "### Confusions\n\n" + table(["is", "taken for", "images", "of those"], rows)


def failures(catalogue: Evaluation) -> str:
    """Return the answers that were surest and wrong, by the catalogue's own numbers."""
    rows: list[list[object]] = [
        [Path(one.reference).stem, one.true, one.predicted, percent(one.confidence)]
        for one in catalogue.hardest[:FAILURES]
    ]
    return (
        "### Failures\n\nThe images of highest loss: where the catalogue's own label is wrong, the "
        "image is likely to be among these.\n\n"
        + table(["image", "is", "taken for", "confidence"], rows)
    )


if __name__ == "__main__":
    main()
