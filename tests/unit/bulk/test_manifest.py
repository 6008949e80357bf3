import itertools
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from shopwindow.bulk.inputs import Input
from shopwindow.bulk.listing import sort_names
from shopwindow.bulk.manifest import Shard, shard_size, write_manifest


def paths(count: int) -> Iterator[Input]:
    return (Input(f"photos/{number:09}.jpg") for number in range(count))


@pytest.mark.parametrize("count", [1, 127, 128, 129, 1000])
@pytest.mark.parametrize("size", [128, 256])
def test_shards_hold_every_input_once_and_in_order(tmp_path: Path, count: int, size: int) -> None:
    manifest = write_manifest(paths(count), tmp_path / "inputs")
    shards = list(manifest.shards(size))
    assert manifest.count == count
    assert [one for _, inputs in shards for one in inputs] == list(paths(count))
    assert [shard for shard, _ in shards] == [
        Shard(number, first, min(size, count - first))
        for number, first in enumerate(range(0, count, size))
    ]


def test_cells_of_tables_and_odd_names_come_back(tmp_path: Path) -> None:
    inputs = [Input("a.parquet", "raw", 7), Input("\udcff\n.jpg"), Input("")]
    ((_, found),) = write_manifest(inputs, tmp_path / "inputs").shards(128)
    assert found == inputs


def test_another_order_is_another_list(tmp_path: Path) -> None:
    digests = {
        write_manifest(map(Input, names), tmp_path / "inputs").sha256
        for names in itertools.permutations(["a", "b", "c"])
    }
    assert len(digests) == 6


@pytest.mark.parametrize(
    ("count", "size", "shards"),
    [
        (1, 128, 1),
        (20_000, 128, 157),
        (131_072, 128, 1024),
        (1_000_000, 1024, 977),
        (100_000_000, 8192, 12_208),
    ],
)
def test_shards_are_many_for_the_cores_and_few_for_the_disk(
    count: int, size: int, shards: int
) -> None:
    assert shard_size(count) == size
    assert -(-count // size) == shards


def test_a_longer_list_takes_no_more_memory(tmp_path: Path) -> None:
    def peak_bytes(count: int) -> int:
        names = (f"photos/{number:09}.jpg" for number in range(count))
        tracemalloc.start()
        try:
            manifest = write_manifest(
                map(Input, sort_names(names, in_memory=2000)), tmp_path / "inputs"
            )
            assert sum(shard.size for shard, _ in manifest.shards(128)) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak_bytes(2000)  # what is loaded and allocated once
    few, many = peak_bytes(2000), peak_bytes(50_000)
    # A list of the 48,000 paths more would have 5 MB; what remains are the files of the sort.
    assert many - few < 1_000_000, f"{few:,} bytes for two thousand, {many:,} for fifty thousand"


MEASURE = """
import resource, subprocess, sys
code = subprocess.run([sys.executable, "-m", "shopwindow", *sys.argv[1:]]).returncode
# The largest of the run and its workers, in kB.
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def test_predicting_a_hundred_times_more_takes_no_more_memory(
    tmp_path: Path, colour_bundle: Path
) -> None:
    def peak_kb(count: int) -> int:
        table = tmp_path / f"{count}.csv"
        with table.open("w") as file:  # none of them is there, so that their rows are quickly made
            file.write("image\n")
            file.writelines(f"gone/{number:09}.png\n" for number in range(count))
        command = ["predict", table, "--model", colour_bundle, "--output", tmp_path / "out.csv"]
        measured = subprocess.run(
            [sys.executable, "-c", MEASURE, *command, "--workers", "1"],
            capture_output=True,
            text=True,
            check=True,
        )
        code, peak = measured.stdout.split()
        assert code == "1"
        assert (tmp_path / "out.csv").read_bytes().count(b"\n") == count + 1
        return int(peak)

    few, many = peak_kb(200), peak_kb(20_000)
    assert many - few < 8_000, f"{few:,} kB for 200 inputs, {many:,} kB for 20,000"
