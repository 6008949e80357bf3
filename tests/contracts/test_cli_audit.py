"""audit on a small folder of labels, where no training stack is needed."""

from __future__ import annotations

from pathlib import Path

from command_line import Run, assert_one_line


def test_audit_finds_a_photo_in_the_wrong_folder_first(
    run_shopwindow: Run, colour_photos: Path
) -> None:
    (colour_photos / "red" / "00.png").rename(colour_photos / "blue" / "was-red.png")
    completed = run_shopwindow("audit", colour_photos)
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.startswith("40 images with 2 labels in label\n")
    assert "1 label probably wrong\n  blue/was-red.png: blue, rather red\n" in completed.stdout


def test_audit_of_a_single_label_says_what_to_do(run_shopwindow: Run, colour_photos: Path) -> None:
    for image in (colour_photos / "blue").iterdir():
        image.unlink()
    said = assert_one_line(run_shopwindow("audit", colour_photos), 1)
    assert "expected at least two labels to tell apart, found 1" in said
