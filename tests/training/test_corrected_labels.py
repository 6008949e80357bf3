"""Fine-tuning takes a table of decisions, and keeps to it when it continues."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from shopwindow.runs import Run, TrainingOptions
from shopwindow.runs.training_data import open_dataset
from shopwindow.training.trainer import open_trainer


def test_corrections_of_a_run_hold_when_it_continues_without_the_table(
    shapes_options: TrainingOptions, tmp_path: Path
) -> None:
    table = tmp_path / "decisions.csv"
    table.write_text("image,decision,label\n000.png,relabel,square\n001.png,drop,\n", "utf-8")
    run = Run.create(replace(shapes_options, corrections=table, out=tmp_path / "run"))
    dataset = open_trainer(run).mix.dataset
    run.save()
    assert len(dataset) == 89
    names = dataset.vocabularies["shape"]
    assert names[dataset.codes["shape"][dataset.references.index("000.png")]] == "square"

    table.write_text("image,decision,label\n002.png,drop,\n", "utf-8")
    again = open_dataset(Run.open(tmp_path / "run"), (64, 64))
    assert again.references == dataset.references
    assert again.codes["shape"].tolist() == dataset.codes["shape"].tolist()
