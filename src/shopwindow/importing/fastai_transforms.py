"""What a fastai learner does to a photo: as a resize rule, and as a module for the rest.

fastai prepares photos in two places. Item transforms work on the PIL image: their resize becomes
the bundle's `ResizeRule`. Batch transforms work on tensors: what is left of them in validation
(scaling to the final size, normalisation) goes into the graph, in front of the network.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from fastai.data.transforms import IntToFloatTensor, Normalize, ToTensor
from fastai.learner import Learner
from fastai.torch_core import TensorImage
from fastai.vision.augment import (
    AffineCoordTfm,
    CropPad,
    RandomCrop,
    RandomResizedCrop,
    RandomResizedCropGPU,
    RandTransform,
    Resize,
)
from fastai.vision.core import PILImage, PILImageBW
from PIL import Image
from torch import Tensor, nn

from shopwindow.errors import TrainingError
from shopwindow.imaging.preprocess import PadFill, ResizeFilter, ResizeMethod, ResizeRule
from shopwindow.importing.layers import Divided, ImportedNetwork, Normalised

_METHODS: dict[str, ResizeMethod] = {"squish": "squish", "crop": "crop-first", "pad": "pad-first"}
_FILLS: dict[str, PadFill] = {"zeros": "black", "border": "edge", "reflection": "mirror"}


class Resampled(nn.Module):
    """What `TensorImage.affine_coord` of fastai does to whole images: cut and scale them.

    The scaling is linear and separate for each axis, so two matrices are enough, whatever mode,
    padding and corners the transform was made with. fastai's own function fills them in.
    """

    rows: Tensor
    columns: Tensor

    def __init__(
        self, transform: Any, window: tuple[slice, slice], source: tuple[int, int]
    ) -> None:
        super().__init__()
        self.window = window
        height, width = (
            len(range(*part.indices(side))) for part, side in zip(window, source, strict=True)
        )
        self.register_buffer("rows", _axis_matrix(transform, height, width, axis=0))
        self.register_buffer("columns", _axis_matrix(transform, height, width, axis=1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, height, width) of the transform."""
        return self.rows @ x[..., self.window[0], self.window[1]] @ self.columns.T


def take_apart(learn: Learner) -> tuple[tuple[str, ...], ResizeRule, ImportedNetwork]:
    """Return a learner's labels, its resize rule and the rest of it as one module.

    Raises:
        TrainingError: It is not a classifier of photos, or does to them what no bundle can.
    """
    labels = _labels(learn)
    _require_photos(learn)
    loader = learn.dls.valid
    rule = resize_rule(loader.after_item.fs)
    if leftover := [t for t in loader.before_batch.fs if not _only_in_training(t)]:
        raise _refusal(leftover[0])
    steps = batch_steps(loader.after_batch.fs, (rule.height_px, rule.width_px))
    return labels, rule, ImportedNetwork(steps, learn.model.eval().float())


def resize_rule(transforms: Iterable[Any]) -> ResizeRule:
    """Return what item transforms do to a photo in validation.

    Raises:
        TrainingError: They bring photos to no fixed size, or in a way that no rule can express.
    """
    rule: dict[str, Any] = {}
    for transform in transforms:
        if isinstance(transform, ToTensor) or _only_in_training(transform):
            continue
        if isinstance(transform, Resize | RandomResizedCrop) and not rule:
            rule = _scaling(transform)
        elif isinstance(transform, CropPad | RandomCrop) and rule and "scaled_px" not in rule:
            width, height = (int(side) for side in transform.size)
            rule |= {"scaled_px": (rule["height_px"], rule["width_px"])}
            rule |= {"height_px": height, "width_px": width}
        else:
            raise _refusal(transform)
    if not rule:
        raise TrainingError(
            "expected a learner that brings photos to one size, found no Resize among its item "
            "transforms; add item_tfms=Resize(224) to its DataLoaders and export it again"
        )
    try:
        return ResizeRule(**rule)
    except ValueError as error:
        raise TrainingError(
            f"the learner's resize cannot be expressed in a bundle: {error}"
        ) from error


def _scaling(transform: Any) -> dict[str, Any]:
    width, height = (int(side) for side in transform.size)
    filter_: ResizeFilter = Image.Resampling(transform.mode).name.lower()  # type: ignore[assignment]
    rule: dict[str, Any] = {"height_px": height, "width_px": width, "filter": filter_}
    if isinstance(transform, RandomResizedCrop):
        # In validation it squishes to a size that is larger by `val_xtra`, and cuts the centre out.
        transform.before_call(Image.new("RGB", (8, 8)), split_idx=1)
        scaled_width, scaled_height = (int(side) for side in transform.final_size)
        return rule | {"method": "squish", "scaled_px": (scaled_height, scaled_width)}
    rule |= {"method": _METHODS[transform.method]}
    return rule | ({"fill": _FILLS[transform.pad_mode]} if transform.method == "pad" else {})


def batch_steps(transforms: Iterable[Any], source: tuple[int, int]) -> list[nn.Module]:
    """Return modules that do what batch transforms do in validation.

    Args:
        transforms: In the order in which fastai applies them.
        source: (height, width) of the images that come in.

    Raises:
        TrainingError: One of them is unknown.
    """
    steps: list[nn.Module] = []
    for transform in transforms:
        if isinstance(transform, IntToFloatTensor):
            steps.append(Divided(transform.div or 1.0))
        elif isinstance(transform, Normalize):
            steps.append(Normalised(transform.mean, transform.std))
        elif isinstance(transform, AffineCoordTfm | RandomResizedCropGPU):
            # Both remember what they did last; this is what they do in validation.
            transform.before_call(TensorImage(torch.zeros(1, 3, *source)), split_idx=1)
            size = transform.size if transform.size is not None else source
            target = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
            window = (slice(0, source[0]), slice(0, source[1]))
            if isinstance(transform, RandomResizedCropGPU):
                (top, left), (height, width) = transform.tl, transform.cp_size
                window = (slice(top, top + height), slice(left, left + width))
            # Without a change of size, it looks up each pixel at its own place.
            if target != source or window != (slice(0, source[0]), slice(0, source[1])):
                steps.append(Resampled(transform, window, source))
            source = target
        elif not _only_in_training(transform):
            raise _refusal(transform)
    if not steps or not isinstance(steps[0], Divided):
        raise TrainingError(
            "expected a learner whose batch transforms begin with IntToFloatTensor, found "
            f"{type(steps[0]).__name__ if steps else 'none'}"
        )
    return steps


@torch.inference_mode()
def _axis_matrix(transform: Any, height: int, width: int, axis: int) -> Tensor:
    """Return the (target, source) matrix of what the transform does along one axis."""
    options = {"sz": transform.size, "mode": transform.mode}
    if isinstance(transform, AffineCoordTfm):
        options |= {"pad_mode": transform.pad_mode, "align_corners": transform.align_corners}
    columns = []
    for position in range((height, width)[axis]):
        image = torch.zeros(1, 1, height, width)
        image[(slice(None), slice(None), *((position, ...) if axis == 0 else (..., position)))] = 1
        seen = TensorImage(image).affine_coord(**options).as_subclass(Tensor)[0, 0]
        # In the middle of the other axis, where no padding shows.
        columns.append(seen[:, seen.shape[1] // 2] if axis == 0 else seen[seen.shape[0] // 2])
    return torch.stack(columns, dim=1)


def _labels(learn: Learner) -> tuple[str, ...]:
    vocabulary = getattr(learn.dls, "vocab", None)
    if vocabulary is None or any(isinstance(part, list | tuple) for part in vocabulary):
        raise TrainingError(
            "expected a learner that picks one of many labels, found "
            f"{'none' if vocabulary is None else 'several vocabularies'} in its DataLoaders"
        )
    labels = tuple(str(label) for label in vocabulary)
    scores = torch.randn(4, len(labels), generator=torch.Generator().manual_seed(0))
    if (activation := getattr(learn.loss_func, "activation", None)) is not None and not any(
        torch.allclose(activation(scores), known, atol=1e-5)
        for known in (scores, scores.softmax(dim=1))
    ):
        raise TrainingError(
            "expected a learner that picks one of many labels, found the loss "
            f"{type(learn.loss_func).__name__}, which allows several for a photo"
        )
    return labels


def _require_photos(learn: Learner) -> None:
    lists = getattr(learn.dls.valid.dataset, "tls", [])
    kind = lists[0].types[-1] if lists and lists[0].types else None
    grey = isinstance(kind, type) and issubclass(kind, PILImageBW)
    if learn.dls.n_inp != 1 or not (isinstance(kind, type) and issubclass(kind, PILImage)) or grey:
        raise TrainingError(
            "expected a learner whose one input is a photo in colour (PILImage), found "
            f"{learn.dls.n_inp} input(s), the first {getattr(kind, '__name__', kind)}"
        )


def _only_in_training(transform: Any) -> bool:
    return isinstance(transform, RandTransform) and transform.split_idx == 0


def _refusal(transform: Any) -> TrainingError:
    return TrainingError(
        f"the learner's transform {type(transform).__name__} cannot be expressed in a bundle; "
        "supported are Resize, RandomResizedCrop and CropPad (after Resize) for items, "
        "aug_transforms and Normalize for batches"
    )
