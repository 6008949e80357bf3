"""How to read a data set: where its table is, and what columns, cells and labels mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from shopwindow.data.corrections import Corrections, read_corrections, recorded_corrections
from shopwindow.data.label_sets import Bars, LabelMap, as_label_map, read_label_map
from shopwindow.data.location import has_table, table_columns
from shopwindow.data.tables import TABLE_SUFFIXES
from shopwindow.errors import UsageError
from shopwindow.imaging.preprocess import ResizeRule

if TYPE_CHECKING:
    from shopwindow.data.dataset import Dataset


@dataclass(frozen=True)
class DataSpec:
    """How to read a data set; the command line has an option for each field.

    Attributes:
        data: A folder with one table (`.csv`, `.tsv`, `.parquet`, ...) and images in it or in its
            `images` folder; or a folder with one folder per label; or a table, whose folder holds
            the images.
        labels_file: The table, relative to the working directory or to `data`. By default the only
            one in `data`; where there is none, each folder in `data` is a label.
        image_column: Column with the image: a path, or a file name with or without extension; in
            Parquet also the image's bytes. By default the one by which most images are found.
        label_column: Column with the main label, by default `label`.
        also: Further label columns. Their cells may be empty.
        label_map: What the main labels mean in other words; see `read_label_map`.
        group_column: Column of what images have in common, such as who took them: images of one
            group stay on one side of a split.
        min_images: Main labels with fewer usable images are left out; 1 keeps all. Has no effect
            where another data set or a model decides the labels.
        bars: What `Tshirts|Tops` means: `any` of these labels would be right, or `path`: it is one
            label, below another. By default the cells, or the given labels, decide.
        corrections: Main labels that somebody has judged again, and images to leave out.
        is_recorded: Whether this is how a bundle's own training data was read. Its label map then
            plays no part in data of which it names no label: these are other data. Nor does its
            `min_images` in any data but those of the training.

    Raises:
        UsageError: `min_images` or `bars` is out of its range.
    """

    data: Path
    labels_file: Path | None = None
    image_column: str | None = None
    label_column: str | None = None
    also: Sequence[str] = ()
    label_map: LabelMap | None = None
    group_column: str | None = None
    min_images: int = 2
    bars: Bars | None = None
    corrections: Corrections | None = None
    is_recorded: bool = False

    def __post_init__(self) -> None:
        if self.min_images < 1:
            raise UsageError(f"--min-images: expected 1 or more, got {self.min_images}.")
        bars = str(self.bars)
        if bars == "several":
            raise UsageError(
                "--bars several: a model of shopwindow gives one label for each column, not "
                "several at once; give each question a column of its own, and name the further "
                "ones with --also."
            )
        if self.bars is not None and bars not in get_args(Bars):
            raise UsageError(f"--bars: expected any or path, got {bars!r}.")

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> DataSpec:
        """Take what says how to read data from the options of a command, which may have more.

        Raises:
            DataError: The file that `label_map` or `corrections` names cannot be read, or is
                something else.
        """
        known = {field.name: options[field.name] for field in fields(cls) if field.name in options}
        if isinstance(path := known.get("label_map"), Path):
            known["label_map"] = read_label_map(path)
        if isinstance(path := known.get("corrections"), Path):
            known["corrections"] = read_corrections(path)
        return cls(**known)

    @classmethod
    def from_record(
        cls, data: Path, trained_on: Mapping[str, Any], labels_file: Path | None = None
    ) -> DataSpec:
        """Return how a bundle's training data was read, so that `data` is read the same way.

        A table of another name is read by the same columns, as far as it has them. Data without a
        table where there was one is other data, of which nothing is known.

        Args:
            data: What is to be read.
            trained_on: What the bundle says about its training data: `BundleInfo.data`.
            labels_file: The table, where one was named.

        Raises:
            UsageError: A table that is not there, or one of several.
            DataError: A table that cannot be read, or a record that is no label map.
        """
        record = trained_on.get("read")
        if not isinstance(record, dict):
            return cls(data, labels_file, min_images=1)
        recorded = recorded_fields(record)
        table = recorded.pop("labels_file")
        labels_file = labels_file or _recorded_table(data, table or trained_on.get("source"))
        columns = table_columns(data, labels_file)
        if columns is None and (table or any(recorded.values())):
            return cls(data, min_images=1)

        def is_there(name: str | None) -> bool:
            return columns is None or columns.count(name) == 1

        also, label_map = filter(is_there, recorded.pop("also")), record.get("label_map")
        return cls(
            data,
            labels_file,
            **{field: name for field, name in recorded.items() if is_there(name)},
            also=tuple(also),
            label_map=None if label_map is None else as_label_map(label_map),
            min_images=record.get("min_images") or 1,
            corrections=recorded_corrections(record.get("corrections")),
            is_recorded=True,
        )

    def as_json(self) -> dict[str, Any]:
        """Return what a bundle says of it, from which `from_record` makes an equal value.

        Files are named without their folders: a bundle travels to other machines.
        """
        label_map = self.label_map
        return {
            "labels": self.labels_file.name if self.labels_file else None,
            "image_column": self.image_column,
            "label_column": self.label_column,
            "also": list(self.also),
            "label_map": label_map
            and {label: None if to is None else list(to) for label, to in label_map.items()},
            "group_column": self.group_column,
            "min_images": self.min_images,
            **({"corrections": dict(self.corrections.labels)} if self.corrections else {}),
        }

    def load(
        self,
        *,
        rule: ResizeRule,
        vocabularies: Mapping[str, Sequence[str]] | None = None,
        with_test: bool = True,
        cache_dir: Path | None = None,
        progress: bool = True,
    ) -> Dataset:
        """Read the data, decode the images once, and leave out labels with too few of them.

        Args:
            rule: Size and method to which images are resized.
            vocabularies: The labels of each column, where another data set decides them. Images
                with none of them are left out. By default the labels that occur.
            with_test: Whether to take in the test part of a data set that also has a validation
                part: a training has no use for it.
            cache_dir: See `open_cache`.
            progress: Show a progress bar on stderr while decoding.

        Raises:
            UsageError: A path or column that is not there.
            MissingExtraError: A Parquet file, and pyarrow is not installed.
            DataError: A table that cannot be read, no image left, or no room for the cache.
        """
        from shopwindow.data.dataset import build_dataset  # which takes a DataSpec

        return build_dataset(
            self,
            rule=rule,
            vocabularies=vocabularies or {},
            with_test=with_test,
            cache_dir=cache_dir,
            progress=progress,
        )


def recorded_fields(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table and the columns that a bundle recorded, by the fields of `DataSpec`."""
    columns = {key: record.get(key) for key in ("image_column", "label_column", "group_column")}
    # Only the name: a bundle may come from anywhere, and says nothing about where to read.
    labels = record.get("labels")
    table = Path(Path(labels).name) if labels and isinstance(labels, str) else None
    return {"labels_file": table, **columns, "also": tuple(record.get("also") or ())}


def _recorded_table(data: Path, named: object) -> Path | None:
    """Return the table of the training, where `data` has one of that name or none at all."""
    if data.is_file() or not isinstance(named, str | Path):
        return None
    name = Path(named).name
    if not name.lower().endswith(TABLE_SUFFIXES):  # a folder of photos
        return None
    if (data / name).is_file():
        return data / name
    return Path(name) if Path(name).is_file() and not has_table(data) else None
