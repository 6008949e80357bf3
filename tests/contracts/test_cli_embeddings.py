"""`shopwindow predict --embeddings`: one more column of a Parquet file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import Run, assert_one_line

from shopwindow.bulk.rows import COLUMNS

parquet = pytest.importorskip("pyarrow.parquet")


def test_embeddings_are_one_more_column_that_other_tools_read(
    run_shopwindow: Run, embedding_bundle: Path, colour_photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    command = ("predict", colour_photos / "red", "broken.jpg", colour_photos / "blue")
    command += ("--model", embedding_bundle, "--output", "out.parquet", "--embeddings")
    assert_one_line(run_shopwindow(*command), 1)
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table.schema.names == [*COLUMNS, "embedding"]
    assert str(table.schema.field("embedding").type) == "fixed_size_list<element: halffloat>[3]"
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(tmp_path / "out.parquet")
    assert list(frame["embedding"].isna()) == list(frame["label"].isna())
    assert frame["embedding"].isna().sum() == 1
    for row in frame.dropna(subset="label").itertuples():
        pure = {"red": (1, 0, 0), "blue": (0, 0, 1)}[row.label]
        assert row.embedding.dtype == np.float16
        np.testing.assert_allclose(np.linalg.norm(row.embedding.astype(float)), 1, atol=1e-3)
        assert np.dot(row.embedding, pure) > 0.7
    # Another run may replace it, as it would any output of predict, and others read on.
    assert run_shopwindow(*command).returncode == 1
    assert run_shopwindow("summary", "out.parquet").returncode == 0


def test_duckdb_reads_embeddings(
    run_shopwindow: Run, embedding_bundle: Path, colour_photos: Path, tmp_path: Path
) -> None:
    import duckdb

    command = ("predict", colour_photos, "--model", embedding_bundle, "--embeddings")
    assert run_shopwindow(*command, "--output", "out.parquet").returncode == 0
    path = str(tmp_path / "out.parquet")
    found = duckdb.execute("select label, embedding[1] from read_parquet(?)", [path]).fetchall()
    assert {label for label, red in found if red > 0.7} == {"red"}


@pytest.mark.parametrize("output", ["labels.csv", "labels.jsonl", None])
def test_embeddings_in_a_text_format_are_refused(
    run_shopwindow: Run, embedding_bundle: Path, colour_photos: Path, output: str | None
) -> None:
    command = ("predict", colour_photos, "--model", embedding_bundle, "--embeddings")
    completed = run_shopwindow(*command, *(("--output", output) if output else ()))
    fmt = Path(output or "labels.csv").suffix[1:]
    assert f"--embeddings: expected Parquet, which holds numbers as such, found {fmt}" in (
        assert_one_line(completed, 2)
    )


def test_embeddings_of_a_bundle_without_them_are_refused(
    run_shopwindow: Run, colour_bundle: Path, colour_photos: Path, tmp_path: Path
) -> None:
    command = ("predict", colour_photos, "--model", colour_bundle, "--embeddings")
    said = assert_one_line(run_shopwindow(*command, "--output", "out.parquet"), 2)
    assert "expected a model that gives embeddings, but colours 1.0 does not" in said
    assert not list(tmp_path.glob("out.parquet*"))


def test_a_stopped_run_without_embeddings_is_not_continued_with_them(
    run_shopwindow: Run, embedding_bundle: Path, colour_photos: Path, tmp_path: Path
) -> None:
    command = ("predict", colour_photos, "--model", embedding_bundle, "--output", "out.parquet")
    # What a killed run leaves, with a manifest of the same inputs.
    from shopwindow.bulk.inputs import list_inputs
    from shopwindow.bulk.job import JobSpec
    from shopwindow.bulk.partial_output import PartialOutput
    from shopwindow.bundle import read_bundle

    job = JobSpec(read_bundle(embedding_bundle), "parquet", "onnxruntime")
    partial = PartialOutput(tmp_path / "out.parquet")
    partial.begin(list_inputs([str(colour_photos)]), job)
    partial.close()
    manifest = json.loads((tmp_path / "out.parquet.partial" / "_manifest.json").read_text())
    assert manifest["output"] == {"format": "parquet", "top": 5}
    said = assert_one_line(run_shopwindow(*command, "--embeddings"), 2)
    assert "holds an unfinished run for another output" in said
