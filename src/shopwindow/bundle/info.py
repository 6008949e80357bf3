"""What a bundle says about itself: value objects that check themselves, and their JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from shopwindow.bundle.novelty import NOVELTY_OUTPUT, Novelty, read_novelty
from shopwindow.bundle.prediction_sets import PredictionSets
from shopwindow.bundle.quality import QualityTable, is_fraction, read_quality
from shopwindow.errors import BundleError
from shopwindow.imaging.preprocess import ResizeRule

FORMAT = 1
# Outputs that a bundle may have after those of its label columns, in this order; docs/bundle.md.
ACTIVATION_OUTPUT = "activation_map"
EMBEDDING_OUTPUT = "embedding"
KINDS_OUTPUT = "kinds_of_photo"

MAX_LABELS = 100_000
MAX_LABEL_CHARS = 500
MAX_EMBEDDING = 65_536


@dataclass(frozen=True, slots=True)
class LabelColumn:
    """What a model predicts, such as a colour: the possible labels in the order of its output."""

    name: str
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        _require(_is_text(self.name), "column name", "a non-empty string", self.name)
        _require(
            1 <= len(self.labels) <= MAX_LABELS,
            f"labels of {self.name!r}",
            f"1 to {MAX_LABELS:,} labels",
            f"{len(self.labels):,}",
        )
        for label in self.labels:
            _require(_is_text(label), f"labels of {self.name!r}", "non-empty strings", label)
        twice = sorted(label for label, count in Counter(self.labels).items() if count > 1)
        _require(not twice, f"labels of {self.name!r}", "each label once", twice)


@dataclass(frozen=True, slots=True)
class Threshold:
    """The confidence from which a prediction is sure.

    Attributes:
        min_confidence: Answers with at least this confidence (0 to 1) count as sure.
        precision: The fraction of sure answers that were right on the validation images, 0 to 1.
        coverage: The fraction of validation images whose answer was sure, 0 to 1.
    """

    min_confidence: float
    precision: float
    coverage: float

    def __post_init__(self) -> None:
        for name in ("min_confidence", "precision", "coverage"):
            value = getattr(self, name)
            _require(is_fraction(value), f"threshold.{name}", "a number from 0 to 1", value)

    @property
    def least(self) -> float | None:
        """The least confidence (0 to 1) that counts as sure; None where no confidence does.

        That is with coverage 0: none was high enough on the validation images.
        """
        return self.min_confidence if self.coverage > 0 else None

    def is_sure(self, confidence: float) -> bool:
        """Say whether an answer with this confidence (0 to 1) counts as sure."""
        return self.least is not None and confidence >= self.least


@dataclass(frozen=True, slots=True)
class Families:
    """Coarser labels, for when the label is not sure: each label belongs to one family.

    Attributes:
        name: What kind of family, such as "subCategory".
        of: The family of each label of the main column, in its order.
        threshold: Where the family is sure: its confidence is the sum of those of its labels.
    """

    name: str
    of: tuple[str, ...]
    threshold: Threshold

    def __post_init__(self) -> None:
        _require(_is_text(self.name), "families.name", "a non-empty string", self.name)
        for family in self.of:
            _require(_is_text(family), f"families.{self.name}", "non-empty strings", family)

    def as_json(self) -> dict[str, Any]:
        """Return JSON-ready data by the names of the attributes."""
        return {"name": self.name, "of": list(self.of), "threshold": asdict(self.threshold)}


@dataclass(frozen=True)
class BundleInfo:
    """What a bundle says about itself; docs/bundle.md explains the keys.

    Attributes:
        name: Short name, such as "fashion".
        version: Version of the model, such as "1.0".
        created: ISO 8601 date and time in UTC.
        rule: Size of the input, and how images are brought to it.
        columns: The label columns in the order of the outputs; the first is the main one.
        threshold: Where "sure" begins, for the main column.
        families: Coarser labels, the finest first; may be empty.
        quality: Figures measured on the validation part.
        data: Where the training images came from, and how they were split.
        training: How the model was trained.
        card: Texts for people: title, summary, licence, limits.
        activation_map: Whether the graph also has a map of which places speak for its label.
        embedding: D, if the graph also has an embedding of each image, (N, D); 0 if it has none.
        prediction_sets: How many labels to name so that the right one is among them; None where
            nothing can be promised.
        novelty: Where an image counts as unlike those of the training, if the graph measures that.
    """

    name: str
    version: str
    created: str
    rule: ResizeRule
    columns: tuple[LabelColumn, ...]
    threshold: Threshold
    families: tuple[Families, ...] = ()
    quality: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)
    activation_map: bool = False
    embedding: int = 0
    prediction_sets: PredictionSets | None = None
    novelty: Novelty | None = None

    def __post_init__(self) -> None:
        for key in ("name", "version", "created"):
            _require(_is_text(getattr(self, key)), key, "a non-empty string", getattr(self, key))
        _require(_is_utc(self.created), "created", "an ISO 8601 date and time in UTC", self.created)
        _require(bool(self.columns), "columns", "at least one label column", "none")
        names = [column.name for column in self.columns]
        _require(len(set(names)) == len(names), "columns", "each name once", names)
        for families in self.families:
            _require(
                len(families.of) == len(self.main.labels),
                f"families.{families.name}",
                f"one family for each of the {len(self.main.labels):,} labels",
                f"{len(families.of):,}",
            )
        for key in ("quality", "data", "training", "card"):
            value = getattr(self, key)
            _require(isinstance(value, dict), key, "a JSON object", type(value).__name__)
        mapped = isinstance(self.activation_map, bool)
        _require(mapped, ACTIVATION_OUTPUT, "true or false", self.activation_map)
        counted = type(self.embedding) is int and 0 <= self.embedding <= MAX_EMBEDDING
        _require(counted, EMBEDDING_OUTPUT, f"a number from 0 to {MAX_EMBEDDING:,}", self.embedding)
        for output in self.further_outputs:
            _require(
                output not in names,
                "columns",
                f"no column {output!r} beside the output of that name",
                names,
            )
        try:
            _ = self.quality_table
        except ValueError as error:
            raise BundleError(f"The bundle's metadata are wrong: {error}.") from error

    @cached_property
    def quality_table(self) -> QualityTable:
        """The rows of `quality`: by confidence, by label, and confusions."""
        return read_quality(self.quality)

    @property
    def further_outputs(self) -> tuple[str, ...]:
        """The outputs of the graph after those of the label columns."""
        wanted = {
            ACTIVATION_OUTPUT: self.activation_map,
            EMBEDDING_OUTPUT: self.embedding,
            NOVELTY_OUTPUT: self.novelty is not None,
            KINDS_OUTPUT: self.kinds > 1,
        }
        return tuple(name for name, has in wanted.items() if has)

    @property
    def kinds(self) -> int:
        """How many kinds of photo have prediction sets of their own; the graph tells several."""
        return len(self.prediction_sets.kinds) if self.prediction_sets is not None else 0

    @property
    def main(self) -> LabelColumn:
        """The label column that `Prediction.label` comes from."""
        return self.columns[0]

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object that is stored under the metadata key `shopwindow`."""
        return {
            "format": FORMAT,
            "name": self.name,
            "version": self.version,
            "created": self.created,
            "resize": self.rule.as_json(),
            "columns": [
                {"name": column.name, "labels": list(column.labels)} for column in self.columns
            ],
            "threshold": asdict(self.threshold),
            "families": [families.as_json() for families in self.families],
            "quality": self.quality,
            "data": self.data,
            "training": self.training,
            "card": self.card,
            "activation_map": self.activation_map,
            "embedding": self.embedding,
            "prediction_sets": self.prediction_sets and self.prediction_sets.as_json(),
            "novelty": None if self.novelty is None else self.novelty.as_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BundleInfo:
        """Read and check what `as_json` wrote.

        Raises:
            BundleError: A key is missing, a value is wrong, or the format is a newer one.
        """
        _require(isinstance(data, Mapping), "metadata", "a JSON object", type(data).__name__)
        found = data.get("format")
        if type(found) is int and found > FORMAT:
            raise BundleError(
                f"This bundle was made by a newer shopwindow (bundle format {found}; this version "
                f"reads {FORMAT}): upgrade with pip install --upgrade shopwindow."
            )
        _require(found == FORMAT and found is not True, "format", FORMAT, found)
        try:
            columns = tuple(_read_column(column) for column in data["columns"])
            threshold = _read_threshold(data["threshold"])
            families = tuple(
                Families(entry["name"], tuple(entry["of"]), _read_threshold(entry["threshold"]))
                for entry in data.get("families", ())
            )
            texts = {key: data[key] for key in ("name", "version", "created")}
            tables = {key: data.get(key, {}) for key in ("quality", "data", "training", "card")}
            rule = ResizeRule.from_json(data["resize"])
            sets = data.get("prediction_sets")
            prediction_sets = None if sets is None else PredictionSets.from_json(sets)
            novelty = read_novelty(data.get(NOVELTY_OUTPUT))
        except KeyError as error:
            raise BundleError(f"The bundle's metadata lack the key {error}.") from error
        except (TypeError, ValueError) as error:
            raise BundleError(f"The bundle's metadata are wrong: {error}.") from error
        return cls(
            **texts,
            rule=rule,
            columns=columns,
            threshold=threshold,
            families=families,
            **tables,
            activation_map=data.get(ACTIVATION_OUTPUT, False),
            embedding=data.get(EMBEDDING_OUTPUT, 0),
            prediction_sets=prediction_sets,
            novelty=novelty,
        )


def _read_column(data: Mapping[str, Any]) -> LabelColumn:
    labels = data["labels"]
    _require(isinstance(labels, list), "columns", "a list of labels", type(labels).__name__)
    return LabelColumn(data["name"], tuple(labels))


def _read_threshold(data: Mapping[str, Any]) -> Threshold:
    return Threshold(data["min_confidence"], data["precision"], data["coverage"])


def _is_utc(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).utcoffset() == timedelta(0)
    except ValueError:
        return False


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value.strip()) <= MAX_LABEL_CHARS


def _require(holds: bool, what: str, expected: object, found: object) -> None:
    if not holds:
        raise BundleError(
            f"The bundle's metadata are wrong: {what}: expected {expected}, found {found!r}."
        )
