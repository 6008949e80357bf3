"""Archives and files as people send them."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest

from shopwindow.studio import intake
from shopwindow.studio.intake import Sent, unpack


def make_zip(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def test_folders_of_an_archive_are_labels() -> None:
    content = make_zip({"set/hat/1.jpg": b"1", "set/shoe/2.jpg": b"2", "3.jpg": b"3"})
    assert [*unpack([("set.zip", content)])] == [
        Sent("set/hat/1.jpg", b"1", "hat"),
        Sent("set/shoe/2.jpg", b"2", "shoe"),
        Sent("3.jpg", b"3", ""),
    ]
    assert {sent.label for sent in unpack([("set.zip", content)], label="cap")} == {"cap"}


def test_folders_of_files_are_labels_only_if_they_are_meant_to_be() -> None:
    files = [("hat/1.jpg", b"1")]
    assert [sent.label for sent in unpack(files)] == [""]
    assert [sent.label for sent in unpack(files, folders=True)] == ["hat"]


def test_path_out_of_the_archive_is_no_more_than_a_name() -> None:
    content = make_zip({"../../../evil.jpg": b"1", "/etc/passwd": b"2", "..\\x\\y.jpg": b"3"})
    assert [sent.label for sent in unpack([("a.zip", content)])] == ["", "etc", "x"]


def test_what_systems_put_beside_photos_is_left_out() -> None:
    content = make_zip(
        {"__MACOSX/hat/._1.jpg": b"", "hat/.DS_Store": b"", "hat/Thumbs.db": b"", "hat/1.jpg": b"1"}
    )
    assert [sent.name for sent in unpack([("a.zip", content)])] == ["hat/1.jpg"]


def test_archive_that_unpacks_to_too_much_is_refused_unread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = make_zip({"1.jpg": bytes(600), "2.jpg": bytes(600)})
    monkeypatch.setattr(intake, "MAX_UNPACKED_BYTES", 1_000)
    (refused,) = unpack([("a.zip", content)])
    assert refused.content is None
    assert "unpacks to" in refused.why
    monkeypatch.setattr(intake, "MAX_ENTRIES", 1)
    (refused,) = unpack([("a.zip", content)])
    assert "has 2 files" in refused.why


def test_entry_that_lies_about_its_size_is_cut_off() -> None:
    content = bytearray(make_zip({"1.jpg": bytes(100_000)}))
    for mark, place in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        at = content.index(mark)
        content[at + place : at + place + 4] = struct.pack("<I", 10)
    (found,) = unpack([("a.zip", bytes(content))])
    assert found.content is None or len(found.content) <= 11


def test_encrypted_and_damaged_archives_say_so() -> None:
    content = bytearray(make_zip({"1.jpg": b"1"}))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (refused,) = unpack([("a.zip", bytes(content))])
    assert "encrypted" in refused.why
    (refused,) = unpack([("a.zip", make_zip({"1.jpg": b"1"})[:20])])
    assert "damaged" in refused.why


def test_folder_that_cannot_be_a_label_refuses_its_photo() -> None:
    (refused,) = unpack([(f"{'x' * 201}/1.jpg", b"1")], folders=True)
    assert "cannot be a label" in refused.why
