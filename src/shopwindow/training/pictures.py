"""Pictures of a training: the learning-rate finder and the curves."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from shopwindow.atomic_write import write_atomically

_BLUE, _ORANGE, _GREY = "#2456a6", "#c4551c", "#6b6b6b"


def draw_learning_rates(
    path: Path, rates: list[float], losses: list[float], suggestion: float
) -> None:
    """Draw the loss over the learning rate, with the suggestion marked."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    shown = max(len(rates) - 5, 2)
    axes.plot(rates[:shown], losses[:shown], color=_BLUE)
    axes.axvline(suggestion, color=_ORANGE, linestyle="--")
    axes.annotate(
        f"suggestion {suggestion:.2g}",
        (suggestion, 0.97),
        xycoords=("data", "axes fraction"),
        xytext=(6, 0),
        textcoords="offset points",
        color=_ORANGE,
        va="top",
    )
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss (smoothed)")
    _finish(figure, [axes], path)


def draw_curves(path: Path, history: list[dict[str, Any]]) -> None:
    """Draw losses and accuracy over the epochs of all stages; history.csv as a picture."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = range(1, len(history) + 1)
    marker = "o" if len(history) < 30 else None
    for part, color in (("train", _BLUE), ("valid", _ORANGE)):
        loss = [float(row[f"{part}_loss"]) for row in history]
        left.plot(epochs, loss, marker=marker, label=part, color=color)
    left.set(xlabel="epoch", ylabel="loss")
    left.legend(frameon=False)
    accuracy = [100 * float(row["accuracy"]) for row in history]
    right.plot(epochs, accuracy, marker=marker, color=_ORANGE)
    right.set(xlabel="epoch", ylabel="accuracy on the validation part, %")
    right.annotate(
        f"{accuracy[-1]:.2f} %",
        (len(history), accuracy[-1]),
        xytext=(0, 8),
        textcoords="offset points",
        ha="right",
    )
    stages = [row["stage"] for row in history]
    for index in range(1, len(stages)):
        if stages[index] != stages[index - 1]:
            for axes in (left, right):
                axes.axvline(index + 0.5, color=_GREY, linestyle=":")
    _finish(figure, [left, right], path)


def _finish(figure: Figure, all_axes: list[Any], path: Path) -> None:
    for axes in all_axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.2)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_atomically(path, buffer.getvalue())
