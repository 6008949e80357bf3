"""The recipes that train a network, from top to bottom."""

from __future__ import annotations

from fastai.callback.core import Callback
from fastai.optimizer import Adam

from shopwindow.training.callbacks import KeepStatistics, WeightAverage
from shopwindow.training.columns_learner import ColumnsLearner
from shopwindow.training.trainer import Trainer

# With fewer images, the batch statistics of ImageNet are better than those of their batches.
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
    lr = trainer.options.lr or 8e-4 * (trainer.batch_size / 128) ** 0.5
    callbacks: list[Callback] = [WeightAverage(0.998)]
    if len(trainer.split.train) < FEW_IMAGES:
        callbacks.append(KeepStatistics())
    trainer.fit(learn, "stage-2", epochs, slice(lr, 4 * lr), callbacks=callbacks)
    trainer.keep_the_better("stage-1", "stage-2")


def learner_for_finder(trainer: Trainer) -> ColumnsLearner:
    """The learner of `transfer`, as its first stage begins."""
    learn = _transfer_learner(trainer)
    learn.freeze()
    return learn


RECIPES = {"finetune": finetune, "transfer": transfer}
