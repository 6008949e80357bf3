"""Networks of timm: the head they get, and the groups that learn at different rates."""

from __future__ import annotations

import pytest
import torch

from shopwindow.training.network import build_classifier, pooled_answer

SIZE_PX = (160, 160)  # what timm's networks for tests are made for


@pytest.mark.parametrize(
    ("arch", "groups", "mapped"),
    [
        ("test_efficientnet", 3, True),  # two halves of its blocks, and the head
        ("test_vit", 3, False),  # no averaged map: its answer comes from a token
        ("test_resnet", 2, True),
    ],
)
def test_network_gets_a_linear_head_and_learns_in_groups(
    arch: str, groups: int, mapped: bool
) -> None:
    model, split = build_classifier(arch, [3, 2], size_px=SIZE_PX, linear=True)
    parts = [list(part) for part in split(model)]
    assert len(parts) == groups
    assert sum(map(len, parts)) == len(list(model.parameters()))
    assert len({id(one) for part in parts for one in part}) == len(list(model.parameters()))
    head = list(model.net[1].parameters())
    assert [id(one) for one in parts[-1]] == [id(one) for one in head]
    assert (pooled_answer(model) is not None) == mapped
    assert model(torch.zeros(2, 3, *SIZE_PX)).shape == (2, 5)


def test_linear_head_is_that_of_timm_where_torchvision_knows_the_name_too() -> None:
    linear, _ = build_classifier("resnet18", [3], size_px=(64, 64), linear=True)
    course, _ = build_classifier("resnet18", [3], size_px=(64, 64))
    assert pooled_answer(linear) is not None
    assert pooled_answer(course) is None, "fastai's head has a hidden layer"
