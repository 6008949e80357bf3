"""What a training was asked to do: one value, written to the run folder and read by --resume."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from shopwindow.errors import TrainingError, UsageError

_PATHS = (
    "data",
    "labels_file",
    "label_map",
    "out",
    "card",
    "cache_dir",
    "start_from",
    "feedback",
    "corrections",
)
_PATH_LISTS = ("extras",)


@dataclass(frozen=True)
class Defaults:
    """What a recipe uses where the user gave nothing.

    `more_epochs` is for a training that starts from a bundle: docs/retraining.md.
    """

    arch: str
    weights: str
    epochs: tuple[int, ...]
    more_epochs: tuple[int, ...]
    size: tuple[int, int]
    batch_size: int


DEFAULTS = {
    "probe": Defaults("tf_efficientnet_lite0", "imagenet", (), (), (192, 192), 64),
    "finetune": Defaults("tf_efficientnet_lite0", "imagenet", (6,), (2,), (192, 192), 32),
    "transfer": Defaults("resnet50", "imagenet", (6, 6), (1, 2), (60, 60), 64),
}
RECIPES = tuple(DEFAULTS)
# Options that only apply to recipes that train a network.
_OF_TRAINING = ("arch", "weights", "epochs", "size", "batch_size", "lr", "balance")


@dataclass(frozen=True)
class TrainingOptions:
    """The choices of a user, with everything that was left to the recipe as None.

    Attributes:
        data: Folder of images, or a CSV, TSV or Parquet file (see `data.catalogue`).
        labels_file: The table of labels, where `data` is only the folder of images.
        image_column: Column that names the image.
        label_column: Column of the main label.
        also: Further label columns, trained as extra heads on the same body.
        families: Columns of `also` with broader categories of the main label, the narrowest first.
        label_map: JSON file that says what the labels mean in others; see `read_label_map`.
        group_column: Images with the same value stay on one side of the split.
        bars: What a bar in a cell means; see `load_dataset`.
        recipe: One of `RECIPES`.
        arch: A torchvision or timm name; None for that of the bundle whose weights are taken,
            else the recipe's own.
        weights: `imagenet`, `none`, `bundled` (the model in this package), or the path of a weight
            file or bundle; None for the recipe's own.
        epochs: Epochs of each stage of the recipe; None for the recipe's own.
        size: Input size as (height, width) in pixels; None for the recipe's own.
        out: The run folder; None for `runs/<name>`.
        seed: Seed of the split, the initial weights, the order and the augmentations.
        split: `grouped` keeps duplicates on one side; `random` is what published results use.
        min_images: Labels with fewer images are left out.
        batch_size: Images in a step; None for the recipe's own.
        lr: Peak learning rate; None for the recipe's own choice (a finder, or a constant).
        extras: TOML files, each of which describes a further data set; see `ExtraDataset`.
        balance: Power by which images of rare labels are drawn more often, 0 to 1; 0 draws every
            image once.
        card: TOML file with the texts of the model card.
        name: Name of the model; None for the name of the data folder.
        cache_dir: Where decoded images are kept between runs; None for the user's cache folder.
        start_from: The bundle that the training starts from; see `settle_options`.
        feedback: A folder of corrections to learn from; see `open_corrections`.
        corrections: A table of labels that somebody has judged again; see `read_corrections`.

    Raises:
        UsageError: A value is outside its range; the message says what was expected.
    """

    data: Path
    labels_file: Path | None = None
    image_column: str | None = None
    label_column: str | None = None
    also: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    label_map: Path | None = None
    group_column: str | None = None
    bars: str | None = None
    recipe: str = "probe"
    arch: str | None = None
    weights: str | None = None
    epochs: tuple[int, ...] | None = None
    size: tuple[int, int] | None = None
    out: Path | None = None
    seed: int = 42
    split: str = "grouped"
    min_images: int = 2
    batch_size: int | None = None
    lr: float | None = None
    extras: tuple[Path, ...] = ()
    balance: float = 0.0
    card: Path | None = None
    name: str | None = None
    cache_dir: Path | None = None
    start_from: Path | None = None
    feedback: Path | None = None
    corrections: Path | None = None

    def __post_init__(self) -> None:
        if self.recipe not in RECIPES:
            raise UsageError(f"recipe: expected one of {', '.join(RECIPES)}, got {self.recipe!r}")
        if unknown := [name for name in self.families if name not in self.also]:
            raise UsageError(
                f"families: expected columns named in --also, got {', '.join(unknown)}"
            )
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"seed: expected a whole number of 0 or more, got {self.seed}")
        if self.split not in ("grouped", "random"):
            raise UsageError(f"split: expected grouped or random, got {self.split!r}")
        if self.size is not None and not all(8 <= side <= 2048 for side in self.size):
            raise UsageError(f"size: expected 8 to 2048 pixels a side, got {self.size}")
        if self.epochs is not None and (not self.epochs or any(n < 1 for n in self.epochs)):
            raise UsageError(f"epochs: expected whole numbers of 1 or more, got {self.epochs}")
        defaults = {field.name: field.default for field in fields(self)}
        ignored = [name for name in _OF_TRAINING if getattr(self, name) != defaults[name]]
        if self.recipe == "probe" and ignored:
            raise UsageError(
                f"--{ignored[0].replace('_', '-')} has no effect on a linear probe, which trains "
                "no network; choose --recipe finetune"
            )
        stages = DEFAULTS[self.recipe].epochs
        if self.epochs is not None and len(self.epochs) != len(stages):
            raise UsageError(
                f"epochs: expected one number for each stage of {self.recipe}, such as "
                f"{','.join(map(str, stages))}, got {','.join(map(str, self.epochs))}"
            )
        if self.batch_size is not None and self.batch_size < 2:
            raise UsageError(
                f"batch size: expected 2 or more (batch normalisation), got {self.batch_size}"
            )
        if not 0 <= self.balance <= 1:
            raise UsageError(f"balance: expected a power from 0 to 1, got {self.balance}")
        if self.lr is not None and not 0 < self.lr < 100:
            raise UsageError(f"learning rate: expected a number above 0, got {self.lr}")

    @property
    def model_name(self) -> str:
        """The name given, or the name of the data folder or file."""
        if self.name:
            return self.name
        data = self.data.resolve()
        return data.name if data.is_dir() else data.stem

    @property
    def run_dir(self) -> Path:
        """The run folder given, or `runs/<model name>`."""
        return self.out or Path("runs") / self.model_name

    def resolved(self) -> TrainingOptions:
        """Return the same options with whole paths, so that a run continues from any folder."""
        labels = self.labels_file
        return replace(
            self,
            data=self.data.resolve(),
            name=self.model_name,  # which stays, even if the data is moved
            # A name that is not here is that of a file in the data folder.
            labels_file=labels.resolve() if labels is not None and labels.exists() else labels,
            weights=whole_path(self.weights),
            extras=tuple(path.resolve() for path in self.extras),
            label_map=self.label_map.resolve() if self.label_map else None,
            card=self.card.resolve() if self.card else None,
            cache_dir=self.cache_dir.resolve() if self.cache_dir else None,
            start_from=self.start_from.resolve() if self.start_from else None,
            feedback=self.feedback.resolve() if self.feedback else None,
            corrections=self.corrections.resolve() if self.corrections else None,
        )

    def as_json(self) -> dict[str, Any]:
        """Return JSON-ready data from which `from_json` makes an equal value."""
        return {
            key: [str(path) for path in value]
            if key in _PATH_LISTS
            else str(value)
            if isinstance(value, Path)
            else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> TrainingOptions:
        """Read what `as_json` wrote.

        Raises:
            TrainingError: A field is unknown: the run was written by another version.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(data) - known):
            raise TrainingError(
                f"run.json: expected the fields of this version, got {', '.join(unknown)} as well; "
                "continue the run with the version that started it"
            )
        values = dict(data)
        for key in _PATHS:
            values[key] = Path(values[key]) if values.get(key) is not None else None
        for key in ("also", "families", "epochs", "size"):
            values[key] = tuple(values[key]) if values.get(key) is not None else None
        values["also"], values["families"] = values["also"] or (), values["families"] or ()
        for key in _PATH_LISTS:
            values[key] = tuple(Path(path) for path in values.get(key) or ())
        return cls(**values)


def whole_path(weights: str | None) -> str | None:
    """Return the whole path of a weight file; `imagenet` and the like stay as they are."""
    named = weights is None or weights in ("imagenet", "none", "bundled")
    return weights if named else str(Path(weights or "").resolve())


def read_card(path: Path) -> dict[str, Any]:
    """Read the texts of a model card, which a bundle carries as JSON.

    Raises:
        UsageError: The file cannot be read, is not TOML, or holds what JSON cannot, such as a date
            or `inf`.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"card: expected a TOML file at {path}, got {error}") from error
    for key, value in content.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise UsageError(
                f"{path}: expected texts, numbers or lists of them, found {value!r} for {key}; "
                'write it as a string, in "quotes"'
            ) from None
    return content
