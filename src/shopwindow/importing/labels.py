"""Labels in the order of a model's output: from a text file, and from the model's own file.

Files of models are untrusted: what they say is read as JSON or as a Python literal, never run.
"""

from __future__ import annotations

import ast
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shopwindow.bundle import MAX_LABEL_CHARS, MAX_LABELS
from shopwindow.errors import TrainingError, UsageError

# What exporters call their list of labels: Ultralytics, Hugging Face, timm, tutorials.
_KEYS = (
    "names", "label_names", "class_names", "classnames", "classes", "labels", "categories",
    "id2label", "idx_to_class", "idx2class", "index_to_name", "class_to_idx", "label2id", "vocab",
)  # fmt: skip
_MAX_CHARS = 5_000_000
# A number, what separates it from its label, and the label; `0,5 mm` and `1.0 cm` are labels.
_NUMBERED = re.compile(r"(\d{1,6})(?:(\s*[:;=,\t]\s*|[.)]\s+|\s+-\s+)(?!\d)|\s+)(\S.*)")


@dataclass(frozen=True)
class FoundLabels:
    """Labels that the file of a model names, or that the user gives for it.

    Attributes:
        where: Under which key of the file, or `--labels`.
        labels: In the order of the output.
        note: What was done to numbered lines, as a sentence.
    """

    where: str
    labels: tuple[str, ...]
    note: str | None = None


def read_labels(path: Path) -> FoundLabels:
    """Read a text file with a label per line, in the order of the model's output, or JSON.

    Raises:
        UsageError: It cannot be read, a line is empty or too long, a label is there twice, or the
            lines are numbered with gaps.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--labels {path}: expected a text file (UTF-8) with one label per line, got {error}"
        ) from error
    if text.lstrip()[:1] in ("{", "[") and (listed := _in_order(parse_value(text))):
        labels, note = listed, None  # id2label as JSON
    else:
        lines = [line.strip() for line in text.rstrip().splitlines()]
        labels, note = _without_numbers(lines, path)
    if problem := _problem(labels):
        raise UsageError(f"--labels {path}: {problem}")
    return FoundLabels("--labels", labels, note)


def stated_labels(entries: Mapping[str, Any]) -> list[FoundLabels]:
    """Return the lists of labels in the metadata of a file, or in a file beside it.

    Lists of placeholders (`LABEL_0`, `class1`), which exporters write when they have no names, are
    left out.

    Args:
        entries: Texts, or lists and dicts that came from JSON or from a checkpoint.
    """
    found: list[FoundLabels] = []
    for key, value in entries.items():
        if not isinstance(key, str) or key.rpartition(".")[2].lower() not in _KEYS:
            continue
        labels = _in_order(parse_value(value) if isinstance(value, str) else value)
        if len(labels) < 2 or _are_placeholders(labels):
            continue
        if all(not _same(labels, other.labels) for other in found):
            found.append(FoundLabels(key, labels))
    return found


def settle_labels(
    stated: Sequence[FoundLabels], given: FoundLabels | None, name: str
) -> tuple[tuple[str, ...], str | None]:
    """Return the labels of a model, if its file and `--labels` agree; and a note on the source.

    Args:
        stated: From the file.
        given: From `--labels`; where only the spelling differs, these are taken.
        name: Name of the model's file.

    Raises:
        UsageError: There are none, or they contradict each other.
    """
    if given is not None:
        if not stated or any(_same(given.labels, found.labels) for found in stated):
            return given.labels, given.note
        raise UsageError(
            f"--labels: expected the labels that {name} names itself under {stated[0].where!r}, "
            f"found {_difference(given, stated[0])}; leave --labels out, or if {name} is wrong, "
            f"remove {stated[0].where!r} from its metadata"
        )
    if not stated:
        raise UsageError(
            f"expected --labels FILE, with one label per line; {name} does not name any"
        )
    first = stated[0]
    if len(stated) > 1:
        raise UsageError(
            f"{name} names its labels twice and not alike ({_difference(first, stated[1])}); give "
            "the right ones with --labels FILE"
        )
    if problem := _problem(first.labels):
        raise UsageError(
            f"{name} names labels under {first.where!r} that no bundle can have ({problem}); "
            f"remove {first.where!r} from its metadata, and give others with --labels FILE"
        )
    return first.labels, f"{name} names its labels itself ({first.where}): {shown(first.labels)}."


def require_as_many(
    labels: Sequence[str], scores: int, name: str, stated: Sequence[FoundLabels]
) -> None:
    """Refuse labels whose number is not that of the model's scores.

    Raises:
        TrainingError: With both numbers, and where the labels came from.
    """
    if len(labels) == scores or (scores == 1 and len(labels) == 2):
        return
    where = "in --labels"
    if any(_same(labels, found.labels) for found in stated):
        where = f"under {stated[0].where!r} in the file itself"
    expected = f"as many labels as it answers with, {scores:,},"
    if scores == 1:
        expected = (
            "two labels, as it answers with one number (the first is for 0, the second for 1),"
        )
    background = " (some models have a first one for the background)"
    raise TrainingError(
        f"{name}: expected {expected} found {len(labels):,} {where}"
        + (background if scores == len(labels) + 1 > 2 else "")
    )


def _without_numbers(lines: list[str], path: Path) -> tuple[tuple[str, ...], str | None]:
    """Return lines without their numbers, in the order of the numbers, and a note on that.

    `3 Doors` is a label: numbers are taken off only if each line has one, they count from 0 or 1
    without a gap, and the labels that are left all differ.
    """
    matches = [match for match in map(_NUMBERED.fullmatch, lines) if match]
    numbers = [int(match[1]) for match in matches]
    names = [match[3].strip() for match in matches]
    count = len(lines)
    if count < 2 or len(set(names)) < count:
        return tuple(lines), None
    first = min(numbers)
    if first in (0, 1) and sorted(numbers) == list(range(first, first + count)):
        ordered = tuple(name for _, name in sorted(zip(numbers, names, strict=True)))
        sorted_ = "" if numbers == sorted(numbers) else " and were put in that order"
        return ordered, (
            f"The lines of {path.name} are numbered from {first} to {first + count - 1}{sorted_}; "
            f"the labels are {shown(ordered)}."
        )
    if all(match[2] for match in matches):  # as in `0: cat`, which no label begins like
        missing = next(n for n in range(min(first, 1), count + 2) if n not in numbers)
        raise UsageError(
            f"--labels {path}: expected lines numbered from 0 (or 1) to {count - 1} (or {count}), "
            f"found {shown([str(number) for number in numbers])}, without {missing}"
        )
    return tuple(lines), None


def _problem(labels: Sequence[str]) -> str | None:
    """Return what is wrong with some labels, or None."""
    first: dict[str, int] = {}
    for number, label in enumerate(labels, 1):
        if not 0 < len(label) <= MAX_LABEL_CHARS:
            return (
                f"expected a label of 1 to {MAX_LABEL_CHARS} characters in each "
                f"line, found {len(label):,} in line {number}"
            )
        if first.setdefault(label, number) != number:
            return f"expected each label once, found {label!r} in lines {first[label]} and {number}"
    if not 2 <= len(labels) <= MAX_LABELS:
        few = " (of a model that answers with one number: first that for 0, then that for 1)"
        return f"expected 2 to {MAX_LABELS:,} labels, found {len(labels):,}" + few * (
            len(labels) == 1
        )
    return None


def parse_value(text: str) -> Any:
    """Read JSON, a Python literal, or a list with commas or lines; None if it is none of them."""
    if len(text) > _MAX_CHARS:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        pass
    if text.lstrip()[:1] in ("{", "[", "("):
        return None
    return [part.strip() for part in re.split(r"\n|,|;|\|", text) if part.strip()]


def _in_order(value: Any) -> tuple[str, ...]:
    """Return names in order, from a list or from a mapping either way; empty for anything else."""
    if isinstance(value, Mapping):
        pairs = [(_as_index(key), name) for key, name in value.items()]
        if any(index is None for index, _ in pairs):
            pairs = [(_as_index(index), name) for name, index in value.items()]
        numbers = sorted(index for index, _ in pairs if index is not None)
        if numbers not in (list(range(len(pairs))), list(range(1, len(pairs) + 1))):
            return ()
        value = [name for _, name in sorted(pairs, key=lambda pair: pair[0] or 0)]
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return ()
    if len(value) > MAX_LABELS or not all(isinstance(name, str | int) for name in value):
        return ()
    return tuple(unicodedata.normalize("NFC", str(name).strip()) for name in value)


def _as_index(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value).strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else None


def _are_placeholders(labels: Sequence[str]) -> bool:
    pattern = r"(?:label|class|cls|category)[ _-]?0*{}"
    return any(
        all(
            re.fullmatch(pattern.format(n), label, re.IGNORECASE)
            for n, label in enumerate(labels, first)
        )
        for first in (0, 1)
    )


def _same(labels: Sequence[str], others: Sequence[str]) -> bool:
    """Say whether these are the same words in the same order, whatever their case and signs."""
    return [_bare(label) for label in labels] == [_bare(label) for label in others]


def _bare(label: str) -> str:
    folded = unicodedata.normalize("NFC", label).casefold()
    return re.sub(r"[\W_]+", "", folded) or folded


def _difference(first: FoundLabels, second: FoundLabels) -> str:
    """Return in words how two lists of labels differ."""
    if len(first.labels) != len(second.labels):
        return (
            f"{len(first.labels):,} under {first.where!r} and {len(second.labels):,} under "
            f"{second.where!r}"
        )
    pairs = zip(first.labels, second.labels, strict=True)
    index = next(i for i, (a, b) in enumerate(pairs) if _bare(a) != _bare(b))
    same = sorted(map(_bare, first.labels)) == sorted(map(_bare, second.labels))
    return (
        ("the same in another order: " if same else "")
        + f"output {index} is {first.labels[index]!r} under {first.where!r} and "
        f"{second.labels[index]!r} under {second.where!r}"
    )


def one_number_note(name: str, as_what: str, labels: Sequence[str]) -> str:
    """Return the note about a model that answers with one number for two labels."""
    return (
        f"{name} answers with one number, read as {as_what} of {labels[1]}, the second label; a "
        f"low one means {labels[0]}. If it is the other way round, swap the labels."
    )


def shown(labels: Sequence[str]) -> str:
    """Return the first few of some labels."""
    return ", ".join(labels[:5]) + (f" and {len(labels) - 5:,} more" if len(labels) > 5 else "")
