import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from shopwindow.bulk import partial_output
from shopwindow.bulk.inputs import Input
from shopwindow.bulk.job import JobSpec, ShardPredictor
from shopwindow.bulk.local import start_local
from shopwindow.bulk.partial_output import PartialOutput, begun_engine
from shopwindow.bulk.predict import RunTotals, predict_to_file
from shopwindow.bundle import read_bundle
from shopwindow.errors import UsageError
from shopwindow.inference.engine import ChosenEngine

INPUTS = [Input(f"gone/{number}.png") for number in range(300)]


@pytest.fixture
def job(colour_bundle: Path) -> JobSpec:
    return JobSpec(read_bundle(colour_bundle), "csv", "onnxruntime")


def store_all(partial: PartialOutput, job: JobSpec) -> None:
    manifest, size = partial.begin(INPUTS, job)
    predictor = ShardPredictor(job)
    for shard, inputs in manifest.shards(size):
        if shard.name not in partial.finished:
            partial.store(predictor.predict(shard, inputs), job.fmt)


def test_two_runs_cannot_write_the_same_output(job: JobSpec, tmp_path: Path) -> None:
    output = tmp_path / "rows.csv"
    first = PartialOutput(output)
    first.begin(INPUTS, job)
    with pytest.raises(UsageError, match=r"Another run is writing .*: wait until it ends"):
        PartialOutput(output)
    first.close()
    PartialOutput(output).close()


def test_a_run_that_never_began_leaves_nothing(job: JobSpec, tmp_path: Path) -> None:
    PartialOutput(tmp_path / "rows.csv").close()
    assert list(tmp_path.iterdir()) == []


def test_a_run_killed_before_its_parts_were_joined_only_joins_them(
    job: JobSpec, tmp_path: Path
) -> None:
    output = tmp_path / "rows.csv"
    partial = PartialOutput(output)
    store_all(partial, job)
    partial.close()

    def no_engine(job: JobSpec, shards: int) -> None:
        raise AssertionError("everything was predicted already")

    written = predict_to_file(job, INPUTS, output, no_engine)  # type: ignore[arg-type]
    assert written == RunTotals(300, 300)
    assert len(output.read_text().splitlines()) == 301


def test_a_part_without_its_line_or_a_line_without_its_part_does_not_count(
    job: JobSpec, tmp_path: Path
) -> None:
    partial = PartialOutput(tmp_path / "rows.csv")
    store_all(partial, job)
    partial.close()
    journal = partial.folder / "_done.jsonl"
    lines = journal.read_text().splitlines()
    # The machine went down: one line was half written, one part never reached the disk.
    journal.write_text(f"{lines[0]}\n{lines[1]}\n" + lines[2][:20])
    (partial.folder / "part-000001.csv").unlink()
    again = PartialOutput(tmp_path / "rows.csv")
    again.begin(INPUTS, job)
    assert list(again.finished) == ["part-000000"]
    again.close()


def test_a_run_resumes_only_with_its_own_engine(job: JobSpec, tmp_path: Path) -> None:
    by_openvino = replace(job, engine="openvino float32")
    partial = PartialOutput(tmp_path / "rows.csv")
    partial.begin(INPUTS, by_openvino)
    partial.close()
    again = PartialOutput(tmp_path / "rows.csv")
    with pytest.raises(UsageError, match=r"another engine \(SHOPWINDOW_ENGINE\): .*, got onn"):
        again.begin(INPUTS, job)
    again.begin(INPUTS, by_openvino)
    again.close()


@pytest.mark.parametrize("engine", get_args(ChosenEngine))
def test_shards_are_predicted_by_the_engine_of_the_run(job: JobSpec, engine: ChosenEngine) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is an extra: pip install openvino")
    ran = ShardPredictor(replace(job, engine=engine)).engine_name
    assert ran == ("onnxruntime float32" if engine == "onnxruntime" else engine)


def test_a_resumed_run_keeps_its_engine(job: JobSpec, tmp_path: Path) -> None:
    output = tmp_path / "rows.csv"
    assert begun_engine(output) is None
    assert begun_engine(None) is None
    partial = PartialOutput(output)
    partial.begin(INPUTS, replace(job, engine="openvino bfloat16"))
    partial.close()
    assert begun_engine(output) == "openvino bfloat16"
    manifest = partial.folder / "_manifest.json"
    for text, expected in (
        ('{"format": 1}', "onnxruntime"),  # of an early version
        ('{"engine": "abacus"}', None),
        ("[]", None),
        ("{", None),
    ):
        manifest.write_text(text)
        assert begun_engine(output) == expected


def test_a_run_of_an_early_version_resumes_with_onnxruntime(job: JobSpec, tmp_path: Path) -> None:
    partial = PartialOutput(tmp_path / "rows.csv")
    store_all(partial, job)
    partial.close()
    manifest = partial.folder / "_manifest.json"
    content = json.loads(manifest.read_text())
    del content["engine"]
    manifest.write_text(json.dumps(content))
    again = PartialOutput(tmp_path / "rows.csv")
    with pytest.raises(UsageError, match=r"another engine .* onnxruntime, got openv"):
        again.begin(INPUTS, replace(job, engine="openvino float32"))
    again.begin(INPUTS, job)
    assert again.finished
    again.close()


def test_very_many_rows_of_parquet_stay_a_folder_that_reads_as_one_table(
    job: JobSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    monkeypatch.setattr(partial_output, "MAX_FILE_ROWS", 200)
    output = tmp_path / "rows.parquet"
    output.write_text("path,label,confidence,sure,top,attributes,error\n")  # from last time
    for _ in range(2):  # the second time it takes the place of a folder
        written = predict_to_file(
            JobSpec(job.bundle, "parquet", "onnxruntime"), INPUTS, output, start_local(1)
        )
        assert written == RunTotals(300, 300)
        table = parquet.read_table(output)
        assert table.column("path").to_pylist() == [one.path for one in INPUTS]
        assert table.column_names[:2] == ["path", "label"]
        content = json.loads((output / "_manifest.json").read_text())
        assert [shard["failed"] for shard in content["shards"]] == [128, 128, 44]
        assert content["model"]["sha256"] == job.bundle.sha256
        assert sorted(path.name for path in output.iterdir()) == [
            "_manifest.json",
            "part-000000.parquet",
            "part-000001.parquet",
            "part-000002.parquet",
        ]
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]
