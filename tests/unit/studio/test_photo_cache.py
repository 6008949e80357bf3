"""Features on disk, as a kill or another program may leave them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shopwindow.studio.photo_cache import SIGNATURE_LENGTH, PhotoCache


def open_cache(folder: Path) -> PhotoCache:
    return PhotoCache(folder, "abcdef0123456789", 4)


def add(cache: PhotoCache, *digests: int) -> None:
    features = np.array([[digest, 1, 2, 3] for digest in digests], np.float32)
    cache.add(digests, features, np.zeros((len(digests), SIGNATURE_LENGTH), np.float32))


def test_features_are_there_again_in_the_order_they_are_asked_for(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    for start in range(0, 200, 20):
        add(cache, *range(start, start + 20))
    for opened in (cache, open_cache(tmp_path)):
        assert opened.features([7, 199, 0])[:, 0].tolist() == [7, 199, 0]
        assert not opened.has(200)


def test_record_that_was_cut_off_is_made_again_and_harms_no_other(tmp_path: Path) -> None:
    add(open_cache(tmp_path), 1, 2)
    (path,) = tmp_path.glob("features-*.bin")
    path.write_bytes(path.read_bytes()[:-5])
    cache = open_cache(tmp_path)
    assert (cache.has(1), cache.has(2)) == (True, False)
    add(cache, 3)
    assert open_cache(tmp_path).features([3, 1])[:, 0].tolist() == [3, 1]


def test_digest_is_known_until_the_file_changes(tmp_path: Path) -> None:
    photo = tmp_path / "a,b.jpg"
    photo.write_bytes(b"1")
    open_cache(tmp_path).note(photo, 5)
    with (tmp_path / "files.csv").open("a") as file:
        file.write("cut,o")
    assert open_cache(tmp_path).digest(photo) == 5
    photo.write_bytes(b"12")
    assert open_cache(tmp_path).digest(photo) is None
