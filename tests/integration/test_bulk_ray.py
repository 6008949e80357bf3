"""The same shards on a real Ray cluster of two nodes, one of which is killed on the way."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.slow

pytest.importorskip("ray", reason="ray is not installed")

# In a process of its own: Ray starts threads and programs that pytest takes for leaks. It says the
# address, kills the second node when it is told to, and ends with its input.
CLUSTER = """
import sys
from ray.cluster_utils import Cluster

node = {"num_cpus": 1, "object_store_memory": 80 * 1024 * 1024}
cluster = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
second = cluster.add_node(**node)
cluster.wait_for_nodes(timeout=300)
print("address", cluster.address, flush=True)
for line in sys.stdin:
    cluster.remove_node(second, allow_graceful=False)
    print("killed", flush=True)
cluster.shutdown()
"""


class Cluster:
    """Two nodes with one processor each."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # The default of 30 s is too short for a machine that has much else to do.
            env=os.environ | {"RAY_raylet_start_wait_time_s": "300"},
        )
        self.address = self._read("address")

    def kill_second_node(self) -> None:
        assert self._process.stdin is not None
        print("kill", file=self._process.stdin, flush=True)
        self._read("killed")

    def close(self) -> None:
        self._process.communicate(timeout=120)

    def _read(self, start: str) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:  # Ray says this and that as well
            if line.startswith(start):
                return line.removeprefix(start).strip()
        raise AssertionError(f"the cluster ended before it said {start!r}")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    nodes = Cluster()
    try:
        yield nodes
    finally:
        nodes.close()


@pytest.fixture
def photo_list(tmp_path: Path) -> Path:
    """A table of 4,000 photos, 32 shards, each of another shade, and some of them missing."""
    for number in range(60):
        Image.new("RGB", (30, 40), (4 * number, 90, 255 - 4 * number)).save(
            tmp_path / f"{number}.png"
        )
    lines = [f"{n % 60}.png" if n % 100 else "gone.png" for n in range(4000)]
    path = tmp_path / "list.csv"
    path.write_text("\n".join(["image", *lines, ""]))
    return path


def test_local_and_ray_write_the_same_though_a_node_is_killed(
    cluster: Cluster, photo_list: Path, colour_bundle: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "shopwindow", "predict", photo_list, "--model", colour_bundle]
    on_ray = subprocess.Popen(
        [*command, "--runner", "ray", "--ray-address", cluster.address, "--output", "ray.csv"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    journal = tmp_path / "ray.csv.partial" / "_done.jsonl"
    while not journal.exists():
        with contextlib.suppress(subprocess.TimeoutExpired):
            on_ray.wait(timeout=0.05)
            raise AssertionError(on_ray.communicate()[1])
    cluster.kill_second_node()
    assert on_ray.poll() is None, "the run was over before the node was killed"
    _, errors = on_ray.communicate(timeout=300)
    assert on_ray.returncode == 1, errors
    assert "40 of 4,000 inputs could not be predicted" in errors

    local = subprocess.run(
        [*command, "--output", "local.csv"], cwd=tmp_path, capture_output=True, check=False
    )
    assert local.returncode == 1
    assert (tmp_path / "ray.csv").read_bytes() == (tmp_path / "local.csv").read_bytes()


def test_an_address_without_a_cluster_is_one_sentence(
    photo_list: Path, colour_bundle: Path, tmp_path: Path
) -> None:
    completed = subprocess.run(
        [
            *(sys.executable, "-m", "shopwindow", "predict", photo_list, "--model", colour_bundle),
            *("--runner", "ray", "--ray-address", "not an address"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 75
    assert completed.stderr.startswith("shopwindow: No Ray cluster answers at not an address")
    assert completed.stderr.count("\n") == 1
