"""The parts of a data set, to learn from and to judge by, as their names say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from shopwindow.plain_text import counted

Role = Literal["train", "valid", "test", ""]

_ROLES: dict[str, Role] = {
    **dict.fromkeys(("train", "training", "learn", "learning"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "valid"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation", "holdout"), "test"),
    **dict.fromkeys(("fold", "part", "split", "batch", "shard", "pred"), ""),
}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_ENDINGS = re.compile(r"(set|data|images|imgs|img)$")


def role_of(name: str) -> Role | None:
    """Return what the name of a folder, a file or a cell says that it is for, if it says anything.

    `test_set`, `TrainingData`, `seg_train` and `val2017` do; `trainers` does not. "" stands for a
    part that may be for anything, such as `fold1`.
    """
    for word in _WORD.findall(name):
        for text in (word.lower(), _ENDINGS.sub("", word.lower())):
            if text in _ROLES:
                return _ROLES[text]
    return None


def held_out_role(roles: Iterable[str]) -> Role | None:
    """Return which of the parts judges a model, if there is one, and one to learn from."""
    there = set(roles)
    if not there - {"valid", "test"}:
        return None
    return "valid" if "valid" in there else "test" if "test" in there else None


def describe_parts(roles: Mapping[str, Role], held_out: Role | None) -> str:
    """Say in a sentence what each part of a data set, by its name, is used for."""
    if held_out is None:
        return "All parts are read as one; name one of them as DATA to read it alone"
    judges = [name for name, role in roles.items() if role == held_out]
    apart = [name for name, role in roles.items() if role == "test" != held_out]
    sentence = f"Held out to grade the training: {', '.join(judges)}"
    if apart:
        sentence += f"; kept for shopwindow evaluate: {', '.join(apart)}"
    return sentence


def describe_roles(roles: Sequence[Role]) -> list[str]:
    """Say what the images of each role are used for, where some are held out, in a list."""
    held_out = held_out_role(roles)
    if held_out is None:
        return []
    named = {
        f"{role or 'other'} ({counted(count, 'image')})": role
        for role, count in sorted(Counter(roles).items())
    }
    return [describe_parts(named, held_out)]
