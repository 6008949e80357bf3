"""Bundle + images -> predictions: decode, preprocess, batch, run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar, cast, overload

import numpy as np
from numpy.typing import NDArray

from shopwindow.bundle import (
    ACTIVATION_OUTPUT,
    EMBEDDING_OUTPUT,
    KINDS_OUTPUT,
    NOVELTY_OUTPUT,
    Bundle,
    BundleInfo,
    Families,
    LabelColumn,
    Threshold,
    bundled_model_path,
    read_bundle,
)
from shopwindow.errors import BundleError, ImageError
from shopwindow.imaging.decode import decode_image, upright_pixels
from shopwindow.imaging.formats import identify
from shopwindow.imaging.limits import ImageLimits
from shopwindow.imaging.preprocess import preprocess
from shopwindow.inference.any_image import AnyImage, as_file_or_picture, is_one_image
from shopwindow.inference.engine import ChosenEngine, EngineName, open_engine
from shopwindow.inference.prediction import LabelScore, Prediction

T = TypeVar("T")

MAX_BATCH = 64  # larger batches are no faster on a processor, but take memory in proportion


class Predictor:
    """Predicts the labels of images with one bundle. Thread-safe.

    Args:
        bundle: From `read_bundle`.
        threads: Processor threads for one run of the model; None takes one per core.
        streams: Runs of the model at a time that are to be expected; see `open_engine`.
        limits: What is refused before it is decoded; the usual limits where left out.
        engine: What runs the model; see `choose_engine`. `auto` means the same everywhere, so that
            a picture gets the same answer everywhere; only commands read `SHOPWINDOW_ENGINE`.

    Attributes:
        bundle: The model and what it says about itself.
        engine_name: What runs it, and how exactly: "onnxruntime int8".
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int | None = None,
        streams: int = 1,
        limits: ImageLimits | None = None,
        engine: EngineName | ChosenEngine = "auto",
    ) -> None:
        self.bundle = bundle
        self._limits = limits or ImageLimits()
        self._engine = open_engine(bundle.model, threads=threads, streams=streams, name=engine)
        self.engine_name = self._engine.name

    def identify(self, blob: bytes) -> str:
        """Return the format of an image file, recognised by its first bytes; this costs nothing.

        Raises:
            UnsupportedImageError: It is not accepted.
        """
        return identify(blob, self._limits)

    def prepare(self, blob: bytes) -> NDArray[np.uint8]:
        """Decode one image file to (height_px, width_px, 3) uint8, RGB, of the resize rule.

        Raises:
            ImageError: The bytes are not an image that is accepted.
        """
        rule = self.bundle.info.rule
        image_hwc = decode_image(blob, limits=self._limits, least_px=rule.enough_px)
        return preprocess(image_hwc, rule)

    def check(self, images_nhwc: NDArray[np.uint8]) -> None:
        """Make sure that these are images for this model.

        Raises:
            ValueError: Another shape than (N, height_px, width_px, 3), or not uint8.
        """
        self._engine.check(images_nhwc)

    def probabilities(
        self,
        images_nhwc: NDArray[np.uint8],
        *,
        with_activation: bool = False,
        with_embedding: bool = False,
        with_kinds: bool = False,
        with_novelty: bool = False,
    ) -> dict[str, NDArray[np.float32]]:
        """Return the probabilities of all labels.

        Args:
            images_nhwc: (N, height_px, width_px, 3) uint8, RGB, already brought to size.
            with_activation: Whether to return the activation map too, where the bundle has one.
            with_embedding: Whether to return the embedding too, where the bundle has one.
            with_kinds: Whether to return the kinds of photo too, where the bundle tells them apart.
            with_novelty: Whether to return the novelty too, where the bundle measures it.

        Returns:
            By label column, (N, C) float32 in the order of the column's labels; under
            `ACTIVATION_OUTPUT` (N, rows, columns) float32, see `Prediction.activation`; under
            `EMBEDDING_OUTPUT` (N, D) float32, see `Prediction.embedding`; under `KINDS_OUTPUT`
            (N, K) float32, how likely the image is of each kind; under `NOVELTY_OUTPUT` (N,)
            float32, see `Prediction.novelty`.

        Raises:
            ValueError: Another shape or dtype.
        """
        starts = range(0, max(1, len(images_nhwc)), MAX_BATCH)
        info = self.bundle.info
        unwanted = {
            *(() if with_activation else (ACTIVATION_OUTPUT,)),
            *(() if with_embedding else (EMBEDDING_OUTPUT,)),
            *(() if with_kinds else (KINDS_OUTPUT,)),
            *(() if with_novelty else (NOVELTY_OUTPUT,)),
        }
        further = (name for name in info.further_outputs if name not in unwanted)
        outputs = [*(column.name for column in info.columns), *further]
        parts = [
            self._engine.run(images_nhwc[start : start + MAX_BATCH], outputs) for start in starts
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def predict_images(
        self,
        images_nhwc: NDArray[np.uint8],
        *,
        top: int = 5,
        explain: bool = False,
        embed: bool = False,
    ) -> list[Prediction]:
        """Return one prediction per image.

        Args:
            images_nhwc: (N, height_px, width_px, 3) uint8, RGB, already brought to size.
            top: How many labels to list; more than there are means all.
            explain: Whether to fill in `activation`, where the bundle can.
            embed: Whether to fill in `embedding`, where the bundle can.

        Raises:
            ValueError: Another shape or dtype, or `top` below 1.
        """
        if top < 1:
            raise ValueError(f"top: expected at least 1, got {top}")
        scores = self.probabilities(
            images_nhwc,
            with_activation=explain,
            with_embedding=embed,
            with_kinds=True,
            with_novelty=True,
        )
        return self.describe(scores, top=top)

    def describe(self, scores: dict[str, NDArray[np.float32]], *, top: int) -> list[Prediction]:
        """Return one prediction per row of what `probabilities` returned.

        Args:
            scores: By label column, (N, C) in the order of the column's labels, and what else there
                is; of a bundle that tells kinds of photo apart, these too.
            top: How many labels to list, at least 1; more than there are means all.
        """
        scores = with_families(self.bundle.info, scores)
        return [
            self._prediction({name: column[row] for name, column in scores.items()}, top, set_size)
            for row, set_size in enumerate(set_sizes(self.bundle.info, scores).tolist())
        ]

    def predict_bytes(
        self,
        blobs: Sequence[bytes],
        *,
        top: int = 5,
        explain: bool = False,
        embed: bool = False,
    ) -> list[Prediction | ImageError]:
        """Return an entry per image file, in order: the prediction, or why there is none.

        Args:
            blobs: The contents of image files.
            top: How many labels to list; more than there are means all.
            explain: Whether to fill in `activation`, where the bundle can.
            embed: Whether to fill in `embedding`, where the bundle can.

        Raises:
            ValueError: `top` is below 1.
        """
        shape = (-1, *self._engine.input_shape)
        return predict_items(
            blobs,
            self.prepare,
            lambda images: self.predict_images(
                np.array(images, np.uint8).reshape(shape), top=top, explain=explain, embed=embed
            ),
        )

    @overload
    def predict(  # type: ignore[overload-overlap]  # text and bytes are sequences, but come first
        self, images: AnyImage, *, top: int = ..., explain: bool = ..., embed: bool = ...
    ) -> Prediction: ...

    @overload
    def predict(
        self, images: Sequence[AnyImage], *, top: int = ..., explain: bool = ..., embed: bool = ...
    ) -> list[Prediction | ImageError]: ...

    def predict(
        self,
        images: AnyImage | Sequence[AnyImage],
        *,
        top: int = 5,
        explain: bool = False,
        embed: bool = False,
    ) -> Prediction | list[Prediction | ImageError]:
        """Return the prediction for an image, or an entry for each of several.

        Args:
            images: An image, or a list of images: paths, contents of files, Pillow images, or
                arrays (H, W, 3) or (H, W) uint8, RGB or grey. An array (N, H, W, 3) is N images.
            top: How many labels to list; more than there are means all.
            explain: Whether to fill in `activation`, where the bundle can.
            embed: Whether to fill in `embedding`, where the bundle can.

        Returns:
            For an image its prediction. For several, in order, the prediction of each, or the
            error that says why there is none.

        Raises:
            ImageError: The only image cannot be used.
            OSError: A file does not exist or cannot be read.
            ValueError: An array of another shape or dtype, or `top` is below 1.
            TypeError: Something that is not an image.
        """
        one = is_one_image(images)
        several = [cast("AnyImage", images)] if one else list(cast("Sequence[AnyImage]", images))
        shape = (-1, *self._engine.input_shape)
        entries = predict_items(
            several,
            self._prepare_any,
            lambda pixels: self.predict_images(
                np.array(pixels, np.uint8).reshape(shape), top=top, explain=explain, embed=embed
            ),
        )
        if not one:
            return entries
        if isinstance(entries[0], ImageError):
            raise entries[0]
        return entries[0]

    def _prepare_any(self, image: AnyImage) -> NDArray[np.uint8]:
        found = as_file_or_picture(image)
        if isinstance(found, bytes):
            return self.prepare(found)
        rule = self.bundle.info.rule
        return preprocess(upright_pixels(found, least_px=rule.enough_px), rule)

    def _prediction(
        self, scores: dict[str, NDArray[np.float32]], top: int, set_size: int
    ) -> Prediction:
        info = self.bundle.info
        main, *further = info.columns
        ranked = _best(main, scores[main.name], max(top, set_size))
        best = ranked[:top]
        novelty, known = None, None
        if info.novelty is not None:
            novelty = float(scores[NOVELTY_OUTPUT])
            known = info.novelty.is_known(novelty)
        # A network may be certain of what is like nothing it has seen.
        sure = known is not False and info.threshold.is_sure(best[0].confidence)
        return Prediction(
            label=best[0].label,
            confidence=best[0].confidence,
            sure=sure,
            top=best,
            family=None if sure else _sure_family(info.families, scores[main.name]),
            attributes={
                column.name: _best(column, scores[column.name], 1)[0] for column in further
            },
            activation=scores.get(ACTIVATION_OUTPUT) if info.activation_map else None,
            embedding=scores.get(EMBEDDING_OUTPUT) if info.embedding else None,
            prediction_set=tuple(score.label for score in ranked[:set_size]) or None,
            novelty=novelty,
            known=known,
        )


def predict_items(
    items: Sequence[T],
    prepare: Callable[[T], NDArray[np.uint8]],
    predict: Callable[[list[NDArray[np.uint8]]], list[Prediction]],
) -> list[Prediction | ImageError]:
    """Return an entry per item, in order: the prediction, or why there is none.

    Args:
        items: What stands for an image, such as the content of its file.
        prepare: Returns the pixels of an item, or raises `ImageError`.
        predict: Returns a prediction for each image of a list, which may be empty.
    """
    prepared: list[NDArray[np.uint8] | ImageError] = []
    for item in items:
        try:
            prepared.append(prepare(item))
        except ImageError as error:
            prepared.append(error)
    predictions = iter(predict([one for one in prepared if not isinstance(one, ImageError)]))
    return [one if isinstance(one, ImageError) else next(predictions) for one in prepared]


def load_predictor(
    model: str | os.PathLike[str] | None = None,
    *,
    threads: int | None = None,
    streams: int = 1,
    limits: ImageLimits | None = None,
    engine: EngineName | ChosenEngine = "auto",
) -> Predictor:
    """Read a bundle and make it ready to predict.

    Args:
        model: A bundle file; None takes the model that comes with shopwindow.
        threads: See `Predictor`.
        streams: See `Predictor`.
        limits: See `Predictor`.
        engine: See `Predictor`.

    Raises:
        BundleError: The file is missing or not a bundle.
    """
    bundle = load_bundle(Path(model) if model is not None else None)
    return Predictor(bundle, threads=threads, streams=streams, limits=limits, engine=engine)


def load_bundle(model: Path | None = None) -> Bundle:
    """Read a bundle.

    Args:
        model: A bundle file; None takes the model that comes with shopwindow.

    Raises:
        BundleError: The file is missing or not a bundle.
    """
    if model is None and not bundled_model_path().is_file():
        raise BundleError(
            "This copy of shopwindow came without its bundled model: name one with --model FILE, "
            "or train it with make train-fashion."
        )
    return read_bundle(model or bundled_model_path())


def _best(column: LabelColumn, scores: NDArray[np.float32], top: int) -> tuple[LabelScore, ...]:
    # A stable sort: of equally probable labels the first in label order wins, on every machine.
    order = np.argsort(-scores, kind="stable")[:top]
    return tuple(LabelScore(column.labels[index], float(scores[index])) for index in order)


def _sure_family(families: Sequence[Families], scores: NDArray[np.float32]) -> LabelScore | None:
    """Return the most probable family, if it is sure; of the finest families where one is."""
    for of_a_kind in families:
        names, probs = family_probs(of_a_kind, scores[None])
        best = int(probs[0].argmax())
        confidence = min(1.0, float(probs[0, best]))
        if of_a_kind.threshold.is_sure(confidence):
            return LabelScore(names[best], confidence)
    return None


def set_sizes(info: BundleInfo, scores: dict[str, NDArray[np.float32]]) -> NDArray[np.int64]:
    """Return how many labels, most probable first, are in the prediction set of each image.

    Args:
        info: Has the rules.
        scores: What `Predictor.probabilities` returned, with the kinds of photo.

    Returns:
        (N,) from 1 to the number of labels; 0 where nothing can be promised.
    """
    probs = scores[info.main.name]
    if info.prediction_sets is None:
        return np.zeros(len(probs), np.int64)
    sure = sure_rows(info.threshold, probs)
    kinds = scores[KINDS_OUTPUT] if info.kinds > 1 else None
    return info.prediction_sets.sizes(probs, sure, kinds)


def sure_rows(threshold: Threshold, probs: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return (N,) which answers are sure, of (N, C) probabilities; as `Threshold.is_sure` says."""
    if threshold.least is None:
        return np.zeros(len(probs), np.bool_)
    return np.asarray(probs.max(axis=1) >= threshold.least)


def family_probs(
    families: Families, probs: NDArray[np.float32]
) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Add up the probabilities of the labels of each family.

    Args:
        families: Which label belongs to which family.
        probs: (N, C) of the main label column.

    Returns:
        The F families, sorted, and (N, F) float32.
    """
    names, order, starts = _family_columns(tuple(families.of))
    if not len(probs):
        return names, np.zeros((0, len(names)), np.float32)
    return names, np.add.reduceat(probs[:, order], starts, axis=1)


def with_families(
    info: BundleInfo, scores: dict[str, NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    """Answer the columns that are families of the label by the label's own probabilities.

    What a label belongs to is known, so two answers can only contradict each other: a T-shirt that
    is footwear. The label's answer has seen more kinds of photos, too, where a further data set
    has labels alone.

    Args:
        info: Says which columns are families.
        scores: What `Predictor.probabilities` returned.

    Returns:
        The same, with other arrays for those columns.
    """
    labels = {column.name: column.labels for column in info.columns[1:]}
    replaced = {}
    for families in info.families:
        known = labels.get(families.name, ())
        names, probs = family_probs(families, scores[info.main.name])
        if not set(names) <= set(known):
            continue
        column = np.zeros_like(scores[families.name])
        column[:, [known.index(name) for name in names]] = np.minimum(probs, 1)
        replaced[families.name] = column
    return scores | replaced


@lru_cache(maxsize=16)  # needed for every prediction; a bundle has one or two kinds of families
def _family_columns(
    of: tuple[str, ...],
) -> tuple[tuple[str, ...], NDArray[np.intp], NDArray[np.intp]]:
    """Return the families, the labels with each family's together, and where each begins."""
    names, members = np.unique(np.array(of), return_inverse=True)
    order = np.argsort(members, kind="stable")
    return tuple(map(str, names)), order, np.searchsorted(members[order], np.arange(len(names)))
