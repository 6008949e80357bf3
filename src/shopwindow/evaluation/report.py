"""An evaluation as one HTML page, one JSON file and a few lines for the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import ArrayLike, NDArray

from shopwindow.atomic_write import write_atomically
from shopwindow.errors import UsageError
from shopwindow.evaluation.charts import (
    FULL_SHARE,
    colour_strength,
    confusion_picture,
    reliability_bars,
)
from shopwindow.evaluation.grades import Grades, SureAnswers
from shopwindow.evaluation.metrics import highest_loss
from shopwindow.evaluation.set_grades import SetGrades
from shopwindow.imaging.thumbnail import jpeg_data_uri
from shopwindow.plain_text import aligned, counted, percent, printable

FORMAT = 1
WEAKEST_IMAGES = 10  # a label with fewer images is not called weak: its F1 is mostly chance


@dataclass(frozen=True, slots=True, eq=False)
class LossImage:
    """An image of high loss: the model was confidently wrong about it, or nearly so.

    Attributes:
        reference: What the data set calls the image.
        true: Its label.
        predicted: The label it was given.
        confidence: The probability of `predicted`, 0 to 1.
        true_confidence: The probability of `true`, 0 to 1.
        image_hwc: uint8 (H, W, 3), RGB.
    """

    reference: str
    true: str
    predicted: str
    confidence: float
    true_confidence: float
    image_hwc: NDArray[np.uint8]

    def __post_init__(self) -> None:
        image = self.image_hwc
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise ValueError(
                f"image of {self.reference!r}: expected uint8 (H, W, 3), "
                f"got {image.dtype} {image.shape}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """One model graded on one set of images.

    Attributes:
        model_name: As the bundle (or the run) calls itself.
        model_version: Its version; may be empty.
        model_sha256: Checksum of the model file; may be empty.
        created: When it was graded: ISO 8601 date and time, UTC.
        data: What the images are and where they came from, for people.
        split: Which part of them was graded, and how it was chosen, for people.
        images: How many images were graded.
        column: Name of the main label column.
        grades: The figures of the main column.
        attributes: The figures of each further label column, by name.
        sure: What the model's threshold does to the main column's answers.
        hardest: The images of highest loss, worst first (`hardest_images` picks them).
        seconds: How long answering all images took.
        engine: What computed the answers, such as "onnxruntime int8"; may be empty.
        notes: What else a reader must know, such as images that were left out and why.
        set_level: The promised fraction of prediction sets that hold the label; None without any.
        sets: How often they do; empty where the model promises nothing.
    """

    model_name: str
    model_version: str
    model_sha256: str
    created: str
    data: str
    split: str
    images: int
    column: str
    grades: Grades
    sure: SureAnswers
    seconds: float
    attributes: Mapping[str, Grades] = field(default_factory=dict)
    hardest: tuple[LossImage, ...] = ()
    engine: str = ""
    notes: tuple[str, ...] = ()
    set_level: float | None = None
    sets: tuple[SetGrades, ...] = ()

    def __post_init__(self) -> None:
        datetime.fromisoformat(self.created)
        if not 0 <= self.seconds < float("inf"):
            raise ValueError(f"seconds: expected 0 or more, got {self.seconds}")
        for name, grades in {self.column: self.grades, **self.attributes}.items():
            if grades.images + grades.missing != self.images:
                raise ValueError(
                    f"{name}: expected grades of {self.images} images, "
                    f"got {grades.images} and {grades.missing} without a label"
                )
        if self.sure.images != self.grades.images:
            raise ValueError(f"sure: expected {self.grades.images} answers, got {self.sure.images}")
        if self.column in self.attributes:
            raise ValueError(f"attributes: {self.column!r} is the main column already")

    def as_json(self) -> dict[str, Any]:
        """Return all figures as JSON-ready data, in the shape that docs/evaluation.md promises."""
        return {
            "format": FORMAT,
            "created": self.created,
            "model": {
                "name": self.model_name,
                "version": self.model_version,
                "sha256": self.model_sha256,
            },
            "data": self.data,
            "split": self.split,
            "notes": list(self.notes),
            "images": self.images,
            "seconds": round(self.seconds, 3),
            "engine": self.engine,
            "column": self.column,
            "grades": self.grades.as_json(),
            "sure": self.sure.as_json(),
            "prediction_sets": {"level": self.set_level, "of": [one.as_json() for one in self.sets]}
            if self.sets
            else None,
            "attributes": {name: grades.as_json() for name, grades in self.attributes.items()},
            "highest_loss": [
                {
                    "reference": one.reference,
                    "true": one.true,
                    "predicted": one.predicted,
                    "confidence": round(one.confidence, 6),
                    "true_confidence": round(one.true_confidence, 6),
                }
                for one in self.hardest
            ],
        }


def hardest_images(
    probabilities: ArrayLike,
    targets: ArrayLike,
    labels: Sequence[str],
    references: Sequence[str],
    read_images: Callable[[NDArray[np.int64]], NDArray[np.uint8]],
    count: int = 24,
) -> tuple[LossImage, ...]:
    """Return the `count` images of highest loss, worst first.

    Args:
        probabilities: Float (N, C), as in `metrics`.
        targets: Integer (N,), -1 where the image has no label.
        labels: The C labels.
        references: What the data set calls each of the N images.
        read_images: Takes indices (n,) into those N and returns uint8 (n, H, W, 3).
        count: How many.

    Raises:
        ValueError: If an argument is not as above.
    """
    if len(references) != len(np.asarray(targets)):
        raise ValueError(
            f"references: expected one per image ({len(np.asarray(targets))}), "
            f"got {len(references)}"
        )
    indices = highest_loss(probabilities, targets, count)
    probs, codes = np.asarray(probabilities)[indices], np.asarray(targets)[indices]
    return tuple(
        LossImage(
            reference=references[int(index)],
            true=labels[int(code)],
            predicted=labels[int(row.argmax())],
            confidence=float(row.max()),
            true_confidence=float(row[code]),
            image_hwc=image,
        )
        for index, code, row, image in zip(indices, codes, probs, read_images(indices), strict=True)
    )


def write_report(out_dir: Path, evaluation: Evaluation) -> tuple[Path, Path]:
    """Write `report.html` (self-contained: no script, no other file or host) and `report.json`.

    Each replaces an older file of its name in one step; a failure leaves the older one as it was.

    Args:
        out_dir: Folder for both; made where it is missing.
        evaluation: What to show.

    Returns:
        The paths of the HTML and the JSON file.

    Raises:
        UsageError: If the folder or the files cannot be written.
    """
    # Both texts before either file, so that a failure leaves no page without its figures.
    page = _render(evaluation)
    figures = json.dumps(evaluation.as_json(), indent=2, ensure_ascii=False, allow_nan=False)
    paths = out_dir / "report.html", out_dir / "report.json"
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        for path, text in zip(paths, (page, figures + "\n"), strict=True):
            # Lone surrogates can be part of a file name; they must not cost the whole report.
            write_atomically(path, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise UsageError(
            f"Expected a folder to write the report to, but {out_dir} cannot be written "
            f"({error.strerror}): choose another with --out."
        ) from error
    return paths


def _render(evaluation: Evaluation) -> str:
    environment = Environment(
        loader=PackageLoader("shopwindow.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "jpeg": jpeg_data_uri,
        "counted": counted,
    }
    grades = evaluation.grades
    by_images = sorted(grades.per_class, key=lambda score: (-score.images, score.label))
    return environment.get_template("report.html").render(
        evaluation=evaluation,
        grades=grades,
        sure=evaluation.sure,
        by_images=[score for score in by_images if score.f1 is not None],
        weakest=sorted(
            (score for score in by_images if score.images >= WEAKEST_IMAGES),
            key=lambda score: score.f1 or 0.0,
        )[:12],
        weakest_images=WEAKEST_IMAGES,
        bars=reliability_bars(grades),
        confusion=confusion_picture(grades),
        scale=[(share, colour_strength(share)) for share in (0.01, 0.05, 0.1, 0.25, FULL_SHARE)],
    )


def format_summary(evaluation: Evaluation) -> str:
    """Return the figures that a person wants to see in a terminal, as aligned lines."""
    grades, sure = evaluation.grades, evaluation.sure
    low, high = grades.accuracy_interval
    if sure.min_confidence is None:
        sure_text = f"{'none':>8}   this model is never sure"
    elif sure.precision is None:
        sure_text = f"{'none':>8}   no prediction reaches a confidence of {sure.min_confidence:.3f}"
    else:
        sure_text = (
            f"{percent(sure.precision, 2):>8}   right where sure: {percent(sure.coverage)} of "
            f"the images, confidence {sure.min_confidence:.3f} or more"
        )
    graded = counted(evaluation.images, "image")
    if grades.images != evaluation.images:
        graded = f"{grades.images:,} of {graded}"
    lines = [
        f"{evaluation.model_name} {evaluation.model_version}".strip()
        + f": {evaluation.column} of {graded} "
        f"in {evaluation.seconds:.1f} s"
        + (f" with {evaluation.engine}" if evaluation.engine else ""),
        "",
        f"  accuracy     {percent(grades.accuracy, 2):>8}   {100 * low:.1f} to {percent(high)} "
        "is the 95 % interval for this many images",
        *(
            f"  top-{first}        {percent(share, 2):>8}"
            for first, share in ((3, grades.top3_accuracy), (5, grades.top5_accuracy))
            if len(grades.labels) > first  # else it cannot be wrong
        ),
        f"  macro-F1     {grades.macro_f1:>8.4f}   mean of {counted(grades.occurring, 'label')}",
        f"  ECE          {grades.ece:>8.4f}   mean gap between confidence and accuracy",
        f"  sure         {sure_text}",
    ]
    if evaluation.sets:
        set_rows = [
            (
                one.of,
                percent(one.share, 2),
                f"{100 * one.interval[0]:.1f} to {percent(one.interval[1])}",
                f"{one.mean_size:.2f}",
                f"{one.images:,}",
            )
            for one in evaluation.sets
        ]
        header_row = ("prediction sets", "hold the label", "95 % interval", "mean size", "images")
        lines += ["", *aligned([header_row, *set_rows], "<>>>>")]
        lines.append(f"  promised: {percent(evaluation.set_level)}")
    if grades.confusions:
        pairs = [
            (pair.label, "→", pair.taken_for, f"{pair.images:,}", percent(pair.share))
            for pair in grades.confusions[:10]
        ]
        header = ("confused: is", "", "taken for", "images", "of label")
        lines += ["", *aligned([header, *pairs], "<<<>>")]
    if evaluation.attributes:
        rows = [
            (
                name,
                percent(one.accuracy, 2),
                f"{one.macro_f1:.4f}",
                f"{one.ece:.4f}",
                f"{len(one.labels):,}",
                f"{one.images:,}",
            )
            for name, one in evaluation.attributes.items()
        ]
        titles = ("attribute", "accuracy", "macro-F1", "ECE", "labels", "images")
        lines += ["", *aligned([titles, *rows], "<>>>>>")]
    if evaluation.notes:
        lines += ["", *(f"  note: {note}" for note in evaluation.notes)]
    return "\n".join(map(printable, lines))
