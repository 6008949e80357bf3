"""Mixup and cutmix: what of whom is seen, and that the loss weighs both accordingly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fastai.callback.core import Callback
from torch import Tensor

from shopwindow.bundle import read_bundle
from shopwindow.errors import UsageError
from shopwindow.training import TrainingOptions, settle_options, train
from shopwindow.training.blending import BlendImages, Cutmix, Mixup
from shopwindow.training.options import BLENDS
from shopwindow.training.recipes import scratch
from shopwindow.training.run import Run
from shopwindow.training.trainer import Trainer


def blended_batch(blend: BlendImages, size: int = 8) -> Tensor:
    """A batch in which image n is all n and has the label n, as the callback leaves it."""
    values = torch.arange(size, dtype=torch.float32)
    images = values.view(-1, 1, 1, 1).expand(size, 3, 20, 15).contiguous()
    blend.learn = SimpleNamespace(x=images, y=torch.stack([values.long()] * 2, 1), xb=(images,))
    blend.before_batch()
    return blend.learn.xb[0]


def test_mixup_shows_each_image_and_the_one_whose_label_counts_too() -> None:
    torch.manual_seed(1)
    blend = Mixup()
    shares = set()
    for _ in range(20):
        images = blended_batch(blend)
        own, other = torch.arange(8.0), blend.others[:, 0].float()
        expected = blend.share * own + (1 - blend.share) * other
        assert torch.allclose(images, expected.view(-1, 1, 1, 1).expand_as(images), atol=1e-5)
        assert sorted(other.tolist()) == own.tolist()
        shares.add(round(blend.share, 3))
    assert min(shares) < 0.2 < 0.8 < max(shares)


def test_cutmix_shows_a_rectangle_of_the_one_whose_label_counts_too() -> None:
    torch.manual_seed(2)
    blend = Cutmix()
    shares = set()
    for _ in range(20):
        images = blended_batch(blend)
        for own, (image, other) in enumerate(zip(images, blend.others[:, 0].tolist(), strict=True)):
            assert set(image.unique().tolist()) <= {float(own), float(other)}
            if own != other:
                assert float((image == own).float().mean()) == pytest.approx(blend.share)
        shares.add(round(blend.share, 3))
    assert min(shares) < 0.4 < 0.8 < max(shares)


@pytest.mark.parametrize("asked", [0.0, 0.3, 0.75, 0.999, 1.0])
def test_cutmix_counts_what_is_really_covered(asked: float) -> None:
    torch.manual_seed(3)
    found = []
    for _ in range(100):
        image, share = Cutmix().blend(torch.ones(1, 1, 20, 15), torch.zeros(1, 1, 20, 15), asked)
        assert share == pytest.approx(float(image.mean()))
        found.append(share)
        covered = (image[0, 0] == 0).nonzero()
        if len(covered):
            high, wide = (covered.amax(0) - covered.amin(0) + 1).tolist()
            assert high * wide == len(covered), "one rectangle"
    # Where all of it is within the image; at an edge, less is covered.
    tolerance = 0.25 if asked < 0.5 else 0.05
    assert min(found) == pytest.approx(asked, abs=tolerance)


class Look(Callback):
    """Keeps what the loss of each batch was made of, after it was computed."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, float, float, float]] = []

    def after_loss(self) -> None:
        if self.learn.training:
            blend = next(cb for cb in self.learn.cbs if isinstance(cb, BlendImages))
            logits = self.learn.pred.detach()
            own = float(blend.old_lf(logits, *self.learn.yb))
            other = float(blend.old_lf(logits, blend.others, *self.learn.yb[1:]))
            self.seen.append((own, other, blend.share, float(self.learn.loss.detach())))


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize("taught", [False, True], ids=["alone", "taught"])
def test_loss_is_that_of_both_by_their_shares_and_validation_sees_images_as_they_are(
    blend: str,
    taught: bool,
    tmp_path: Path,
    shapes_run: Path,
    shapes_options: TrainingOptions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    teachers = (shapes_run / "model.onnx",) if taught else ()
    options = replace(
        shapes_options, blend=blend, epochs=(1,), distil=teachers, out=tmp_path / "run"
    )
    trainer = Trainer(Run.create(options))
    trainer.save()
    look, build = Look(), trainer.learner
    validated: list[Tensor] = []

    def watched(**settings: object) -> object:
        learn = build(**settings)
        learn.add_cb(look)
        return learn

    monkeypatch.setattr(trainer, "learner", watched)
    trainer.model.register_forward_pre_hook(
        lambda model, inputs: None if model.training else validated.append(inputs[0].clone())
    )
    scratch(trainer)
    assert len(look.seen) == 4
    for own, other, share, loss in look.seen:
        assert loss == pytest.approx(share * own + (1 - share) * other, rel=1e-5)
        assert 0 <= share <= 1
    assert any(abs(own - other) > 1e-3 for own, other, *_ in look.seen), "others really are others"
    images = torch.from_numpy(trainer.dataset.images(trainer.split.valid)).permute(0, 3, 1, 2)
    assert torch.equal(torch.cat(validated), images.float() / 255)


def test_card_names_it_and_a_training_from_there_keeps_it(
    tmp_path: Path, shapes_options: TrainingOptions
) -> None:
    run = train(replace(shapes_options, blend="cutmix", epochs=(1,), out=tmp_path / "run"))
    bundle = run / "model.onnx"
    assert read_bundle(bundle).info.data["blend"] == "cutmix"
    given = {"data": shapes_options.data, "start_from": bundle}
    assert settle_options(given).blend == "cutmix"
    assert settle_options({**given, "blend": "none"}).blend == "none"


def test_another_word_is_refused(shapes_options: TrainingOptions) -> None:
    with pytest.raises(UsageError, match="blend: expected none, mixup or cutmix, got 'mix'"):
        replace(shapes_options, blend="mix")
