"""The recipes that train a network. Read them from top to bottom: they are what a training does."""

from __future__ import annotations

from functools import partial

from fastai.optimizer import SGD, Adam

from shopwindow.training.callbacks import GrowImages, KeepStatistics, WeightAverage
from shopwindow.training.learner import ColumnsLearner
from shopwindow.training.trainer import Trainer

# From fewer, a batch says less of what flows through a network than ImageNet did.
FEW_IMAGES = 2000


def transfer(trainer: Trainer) -> None:
    """Fine-tune a network that has seen ImageNet.

    The recipe of fastai's course, as in the tutorial that this project grew out of: find a
    learning rate, train the new head while the body stands still, then all of it, the early
    layers slower than the late ones.
    """
    head_epochs, body_epochs = trainer.epochs
    learn = _transfer_learner(trainer)

    learn.freeze()
    lr = trainer.learning_rate(learn)
    trainer.fit(learn, "stage-1", head_epochs, lr)

    learn.unfreeze()
    trainer.fit(learn, "stage-2", body_epochs, slice(min(1e-4, lr / 5), lr / 5))


def _transfer_learner(trainer: Trainer) -> ColumnsLearner:
    return trainer.learner(opt_func=Adam, wd=0.01, moms=(0.95, 0.85, 0.95), label_smoothing=0.0)


def finetune(trainer: Trainer) -> None:
    """Fine-tune all weights of a network that has seen ImageNet, after its new head.

    The head first, so that a bad one does not spoil the features (LP-FT: Kumar et al. 2022,
    arXiv:2202.10054); then all of it, later layers faster than early ones and the head fastest,
    and the average of the weights instead of the last ones.
    """
    (epochs,) = trainer.epochs
    trainer.fit_linear_head("stage-1")
    learn = trainer.learner(opt_func=Adam, wd=0.02, moms=(0.95, 0.85, 0.95), label_smoothing=0.05)
    # Adam's steps go with the square root of the batch (Malladi et al. 2022, arXiv:2205.10287).
    lr = trainer.options.lr or 1e-3 * (trainer.batch_size / 128) ** 0.5
    height, width = trainer.size
    small = (_even(0.8 * height), _even(0.8 * width))
    grow = trainer.grow
    callbacks = [WeightAverage(0.998), GrowImages([(grow, small), (1 - grow, trainer.size)])]
    if len(trainer.split.train) < FEW_IMAGES:
        callbacks.append(KeepStatistics())
    trainer.fit(learn, "stage-2", epochs, slice(lr / 4, 4 * lr), callbacks=callbacks)
    trainer.keep_the_better("stage-1", "stage-2")


def scratch(trainer: Trainer) -> None:
    """Train a small network from nothing, for small images and where no weights can be had.

    SGD, one cycle of the learning rate (Smith 2018, arXiv:1803.09820), label smoothing, the
    average of the weights instead of the last ones, and smaller images for the first three fifths
    of the epochs, or as many as `--grow` says.
    """
    (epochs,) = trainer.epochs
    learn = _scratch_learner(trainer)
    # From a bundle on, a quarter: decision 0013 has how far that leads.
    peak = 0.1 if trainer.options.start_from is None else 0.025
    lr = trainer.options.lr or peak * trainer.batch_size / 64
    height, width = trainer.size
    small = (_even(0.8 * height), _even(0.8 * width))
    grow = trainer.grow
    trainer.fit(
        learn,
        "stage-1",
        epochs,
        lr,
        callbacks=[WeightAverage(0.998), GrowImages([(grow, small), (1 - grow, trainer.size)])],
    )


def _scratch_learner(trainer: Trainer) -> ColumnsLearner:
    return trainer.learner(
        # Weight decay as a plain L2 penalty: the values known for SGD are meant that way.
        opt_func=partial(SGD, mom=0.9, decouple_wd=False),
        wd=5e-4,
        moms=(0.9, 0.9, 0.9),
        label_smoothing=0.1,
    )


def learner_for_finder(trainer: Trainer) -> ColumnsLearner:
    """The learner of the run's recipe, as its first stage begins."""
    if trainer.options.recipe == "scratch":
        return _scratch_learner(trainer)
    learn = _transfer_learner(trainer)
    learn.freeze()
    return learn


def _even(side: float) -> int:
    return max(16, 2 * round(side / 2))


RECIPES = {"finetune": finetune, "transfer": transfer, "scratch": scratch}
