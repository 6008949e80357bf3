"""Two images in one: mixup and cutmix, for losses over several label columns and label sets."""

from __future__ import annotations

import math
from typing import Any

import torch
from fastai.callback.mixup import MixHandler
from torch import Tensor

from shopwindow.training.teaching import Distil


class BlendImages(MixHandler):  # type: ignore[misc]
    """What mixup and cutmix have in common: each image is blended with another one of its batch.

    The loss is that of both images' labels, weighted by how much of each is seen. fastai's own
    callbacks weigh the losses of single images; here a loss is a mean over those whose label is
    known, so that a whole batch has one share, as in the papers, drawn from Beta(alpha, alpha).
    """

    order = Distil.order - 1  # a teacher is asked about what the network sees
    alpha: float
    share: float
    others: Tensor

    def __init__(self) -> None:
        super().__init__(self.alpha)

    def before_batch(self) -> None:
        """Blend the images, and remember the labels of the others."""
        images = self.learn.x
        order = torch.randperm(len(images)).to(images.device)
        blended, self.share = self.blend(images, images[order], float(self.distrib.sample()))
        self.learn.xb = (blended,)
        self.others = self.learn.y[order]

    def blend(self, images: Tensor, others: Tensor, share: float) -> tuple[Tensor, float]:
        """Return (B, C, H, W) images, and the share of each that is of `images`: about `share`."""
        raise NotImplementedError

    def lf(self, logits: Tensor, codes: Tensor, *answers: Any) -> Tensor:
        """The loss of a batch in training (fastai calls it in place of the learner's own)."""
        own = self.old_lf(logits, codes, *answers)
        other = self.old_lf(logits, self.others, *answers)
        return torch.lerp(other, own, self.share)


class Mixup(BlendImages):
    """Both pictures shine through (Zhang et al. 2017, arXiv:1710.09412)."""

    alpha = 0.2  # mostly almost all of one image; as in the paper, for ImageNet

    def blend(self, images: Tensor, others: Tensor, share: float) -> tuple[Tensor, float]:
        """See `BlendImages`."""
        return torch.lerp(others, images, share), share


class Cutmix(BlendImages):
    """A rectangle of the one in the other (Yun et al. 2019, arXiv:1905.04899)."""

    alpha = 1.0  # any share alike, as in the paper

    def blend(self, images: Tensor, others: Tensor, share: float) -> tuple[Tensor, float]:
        """See `BlendImages`; the rectangle has the proportions of the image."""
        height, width = images.shape[-2:]
        side = math.sqrt(1 - share)
        rows = _cut(height, side)
        columns = _cut(width, side)
        blended = images.clone()
        blended[..., rows, columns] = others[..., rows, columns]
        covered = (rows.stop - rows.start) * (columns.stop - columns.start)
        return blended, 1 - covered / (height * width)


def _cut(length: int, share: float) -> slice:
    """Return where `share` of a side lies about a centre drawn by chance, within the picture."""
    half = share * length / 2
    centre = float(torch.rand(())) * length
    return slice(max(0, round(centre - half)), min(length, round(centre + half)))
