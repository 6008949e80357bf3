"""Mixup and cutmix: what of whom is seen, and that the loss weighs both accordingly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fastai.callback.core import Callback

from shopwindow.bundle import read_bundle
from shopwindow.errors import UsageError
from shopwindow.training import TrainingOptions, settle_options, train
from shopwindow.training.mixup import Cutmix, MixImages, Mixup
from shopwindow.training.options import MIXES
from shopwindow.training.recipes import scratch
from shopwindow.training.run import Run
from shopwindow.training.trainer import Trainer


def test_mixup_is_the_weighted_mean_of_both() -> None:
    one, other = torch.rand(2, 3, 4, 6), torch.rand(2, 3, 4, 6)
    mixed, share = Mixup().mix(one, other, 0.7)
    assert share == 0.7
    assert torch.allclose(mixed, 0.7 * one + 0.3 * other)


@pytest.mark.parametrize("asked", [0.0, 0.3, 0.75, 0.999, 1.0])
def test_cutmix_counts_what_is_really_covered(asked: float) -> None:
    torch.manual_seed(3)
    kinds = Cutmix()
    for _ in range(50):
        mixed, share = kinds.mix(torch.ones(1, 1, 20, 15), torch.zeros(1, 1, 20, 15), asked)
        assert share == pytest.approx(float(mixed.mean()))
        assert share >= asked - 0.08, "at the edge less is covered, never more but for rounding"
        gone = (mixed[0, 0] == 0).nonzero()
        if len(gone):
            high, wide = (gone.amax(0) - gone.amin(0) + 1).tolist()
            assert high * wide == len(gone), "one rectangle"


class Look(Callback):
    """Keeps what the loss of each batch was made of; after the mixing, before the next batch."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, float, float, float]] = []
        self.validated: list[bool] = []

    def after_loss(self) -> None:
        mix = next(cb for cb in self.learn.cbs if isinstance(cb, MixImages))
        if self.learn.training:
            logits = self.learn.pred.detach()
            own = float(mix.old_lf(logits, *self.learn.yb))
            other = float(mix.old_lf(logits, mix.others, *self.learn.yb[1:]))
            self.seen.append((own, other, mix.share, float(self.learn.loss.detach())))
        else:
            usual = self.learn.loss_func(self.learn.pred, *self.learn.yb)
            self.validated.append(bool(self.learn.loss == usual))


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("taught", [False, True], ids=["alone", "taught"])
def test_loss_of_a_batch_is_that_of_both_by_their_shares(
    mix: str,
    taught: bool,
    tmp_path: Path,
    shapes_run: Path,
    shapes_options: TrainingOptions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    teachers = (shapes_run / "model.onnx",) if taught else ()
    options = replace(shapes_options, mix=mix, epochs=(1,), distil=teachers, out=tmp_path / "run")
    trainer = Trainer(Run.create(options))
    trainer.save()
    look, build = Look(), trainer.learner

    def watched(**settings: object) -> object:
        learn = build(**settings)
        learn.add_cb(look)
        return learn

    monkeypatch.setattr(trainer, "learner", watched)
    scratch(trainer)
    assert len(look.seen) == 4
    for own, other, share, loss in look.seen:
        assert loss == pytest.approx(share * own + (1 - share) * other, rel=1e-5)
        assert 0 <= share <= 1
    assert any(abs(own - other) > 1e-3 for own, other, *_ in look.seen), "others really are others"
    assert all(look.validated), "validation looks at images as they are"


def test_card_names_it_and_a_training_from_there_keeps_it(
    tmp_path: Path, shapes_options: TrainingOptions
) -> None:
    run = train(replace(shapes_options, mix="cutmix", epochs=(1,), out=tmp_path / "run"))
    bundle = run / "model.onnx"
    assert read_bundle(bundle).info.data["mix"] == "cutmix"
    given = {"data": shapes_options.data, "start_from": bundle}
    assert settle_options(given).mix == "cutmix"
    assert settle_options({**given, "mix": "none"}).mix == "none"


def test_another_word_is_refused(shapes_options: TrainingOptions) -> None:
    with pytest.raises(UsageError, match="mix: expected none, mixup or cutmix, got 'blend'"):
        replace(shapes_options, mix="blend")
