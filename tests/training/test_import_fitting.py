"""Checkpoints as trainings leave them, with heads of their own: the same answers, or the reason."""

from __future__ import annotations

import argparse
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from elsewhere import LABELS
from safetensors.torch import save_file
from torch import Tensor, nn

from shopwindow.errors import UsageError, WeightsError
from shopwindow.importing.checkpoint import open_checkpoint
from shopwindow.importing.weights import LoadedWeights, load_weights

ARCH = "test_resnet"


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(3)
    network: nn.Module = timm.create_model(ARCH, num_classes=len(LABELS))
    for one in network.modules():
        if isinstance(one, nn.BatchNorm2d):
            nn.init.normal_(one.weight)
            nn.init.normal_(one.bias)
    return network.eval()


def with_head(model: nn.Module, head: nn.Module) -> nn.Module:
    network: nn.Module = timm.create_model(ARCH, num_classes=len(LABELS))
    network.load_state_dict(model.state_dict())
    network.fc = head
    return network.eval()


def load(
    content: Any, folder: Path, arch: str = ARCH, labels: tuple[str, ...] = LABELS
) -> LoadedWeights:
    torch.save(content, folder / "m.pth")
    return load_weights(open_checkpoint(folder / "m.pth"), arch, labels)


@torch.inference_mode()
def assert_same_answers(found: nn.Module, expected: nn.Module) -> None:
    photos = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(found(photos), expected.eval()(photos))


def named(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"model_state_dict": state, "epoch": 3},
        lambda state: named(state, "module."),
        lambda state: {"state_dict": named(state, "_orig_mod.module.")},
        lambda state: {"state_dict": named(state, "model.net.backbone.")},
        lambda state: {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")},
        lambda state: {
            "arch": ARCH,
            "state_dict": state,
            "args": argparse.Namespace(lr=0.1, device=torch.device("cpu")),
            "best": np.float64(0.9),
        },
    ],
)
def test_what_a_training_wraps_weights_in_is_taken_off(
    model: nn.Module, tmp_path: Path, wrap: Any
) -> None:
    found = load(wrap(model.state_dict()), tmp_path)
    assert_same_answers(found.network, model)
    assert found.notes == ()


def test_half_precision_is_read_as_float(model: nn.Module, tmp_path: Path) -> None:
    halves = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    network = load(halves, tmp_path).network
    assert {one.dtype for one in network.parameters()} == {torch.float32}


def test_what_belongs_to_the_training_is_left_out_by_name(model: nn.Module, tmp_path: Path) -> None:
    state = {**named(model.state_dict(), "model."), "criterion.weight": torch.ones(5)}
    moments = {"state": {0: {"exp_avg": torch.zeros(3)}}}
    found = load({"state_dict": state, "optimizer": moments}, tmp_path)
    assert_same_answers(found.network, model)
    assert found.notes == (
        "Left out, as the network has no use for it: criterion.weight, optimizer (1).",
    )


def test_of_two_sets_of_weights_the_average_is_taken_and_noted(
    model: nn.Module, tmp_path: Path
) -> None:
    last = timm.create_model(ARCH, num_classes=len(LABELS)).state_dict()
    found = load({"state_dict": last, "state_dict_ema": model.state_dict()}, tmp_path)
    assert_same_answers(found.network, model)
    assert "taken: state_dict_ema, the average" in found.notes[0]


def fastai_like(features: int) -> nn.Module:
    head = nn.Sequential(
        nn.BatchNorm1d(features), nn.Dropout(0.2), nn.Linear(features, 20, bias=False), nn.ReLU(),
        nn.BatchNorm1d(20), nn.Dropout(0.5), nn.Linear(20, 5),
    )  # fmt: skip
    nn.init.normal_(head[4].bias)
    return head


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda n: nn.Sequential(nn.Dropout(0.2), nn.Linear(n, 5)), "Linear 96 to 5."),
        (
            lambda n: nn.Sequential(nn.Linear(n, 20), nn.ReLU(), nn.Dropout(0.2), nn.Linear(20, 5)),
            "Linear 96 to 20, ReLU, Linear 20 to 5. A file of weights does not name",
        ),
        (
            lambda n: nn.Sequential(nn.Linear(n, 20), nn.Linear(20, 5)),
            "Linear 96 to 20, Linear 20 to 5.",
        ),
        (fastai_like, "BatchNorm1d, Linear 96 to 20, ReLU, BatchNorm1d, Linear 20 to 5."),
        (
            lambda n: nn.Sequential(
                OrderedDict(fc1=nn.Linear(n, 20), relu=nn.ReLU(), fc2=nn.Linear(20, 5))
            ),
            "Linear 96 to 20, ReLU, Linear 20 to 5.",
        ),
    ],
    ids=["tutorial", "hidden", "no-gap", "fastai", "by-name"],
)
def test_head_of_ones_own_is_found_by_its_shape(
    model: nn.Module, tmp_path: Path, make: Any, words: str
) -> None:
    own = with_head(model, make(model.fc.in_features))
    found = load(own.state_dict(), tmp_path)
    assert_same_answers(found.network, own)
    assert f"Its last layer (fc) is {words}" in found.notes[0]


class _WithHeadBeside(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.backbone = with_head(model, nn.Identity())
        features = model.fc.in_features
        self.head = nn.Sequential(
            nn.Dropout(0.1), nn.Linear(features, 16), nn.ReLU(), nn.Linear(16, 5)
        )
        self.loss = nn.CrossEntropyLoss(weight=torch.ones(5))

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.head(self.backbone(x))
        return answer


def test_head_beside_the_network_is_found_and_a_loss_is_none(
    model: nn.Module, tmp_path: Path
) -> None:
    own = _WithHeadBeside(model)
    found = load(own.state_dict(), tmp_path)
    assert_same_answers(found.network, own)
    assert "Linear 96 to 16, ReLU, Linear 16 to 5." in found.notes[0]
    assert found.notes[1].endswith("loss.weight.")


def test_last_layers_of_torchvision_may_be_exchanged_as_a_whole(tmp_path: Path) -> None:
    own = torchvision.models.mobilenet_v2(num_classes=5)
    own.classifier = nn.Linear(1280, 5)
    found = load(own.state_dict(), tmp_path, "mobilenet_v2")
    assert_same_answers(found.network, own)


def test_one_output_tells_two_labels_apart(model: nn.Module, tmp_path: Path) -> None:
    own = with_head(model, nn.Linear(model.fc.in_features, 1))
    found = load(own.state_dict(), tmp_path, labels=("cat", "dog"))
    photos = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        shares = found.network(photos).softmax(dim=1)
        torch.testing.assert_close(shares[:, 1:], own(photos).sigmoid())
    assert "of dog, the second label; a low one means cat" in found.notes[0]


def test_one_missing_tensor_is_called_one(model: nn.Module, tmp_path: Path) -> None:
    state = dict(model.state_dict())
    key = next(key for key in state if key.endswith("conv2.weight"))
    del state[key]
    with pytest.raises(WeightsError, match=rf"76 of 77 tensors fit: 1 missing \({key}\)"):
        load(named(state, "model."), tmp_path)


def test_tensors_of_a_deeper_network_are_not_left_out(tmp_path: Path) -> None:
    deeper = torchvision.models.resnet34(num_classes=5).state_dict()
    with pytest.raises(WeightsError, match=r"102 of 102 tensors fit: 80 too many \(layer1\.2"):
        load({"arch": "resnet34", "state_dict": deeper}, tmp_path, "resnet18")
    with pytest.raises(WeightsError, match="says itself that it is of resnet34"):
        load({"arch": "resnet34", "state_dict": deeper}, tmp_path, "resnet18")


def test_weights_of_another_network_are_refused(model: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"0 of \d+ tensors fit: .* the file has 92 tensors"):
        load(model.state_dict(), tmp_path, "test_vit")


@pytest.mark.parametrize("hidden", [False, True])
def test_wrong_number_of_labels_names_both_numbers(
    model: nn.Module, tmp_path: Path, hidden: bool
) -> None:
    head: nn.Module = nn.Linear(model.fc.in_features, 6)
    own = with_head(model, nn.Sequential(head) if hidden else head)
    with pytest.raises(WeightsError, match=r"its last layer .* answers with 6 labels, .* are 5"):
        load(own.state_dict(), tmp_path)


def test_unknown_architecture_suggests_names(model: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a name that torchvision or timm knows"):
        load(model.state_dict(), tmp_path, "resnet1000")


@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: {"model": one, "epoch": 1}])
def test_whole_model_is_refused_by_its_class(model: nn.Module, tmp_path: Path, wrap: Any) -> None:
    with pytest.raises(WeightsError, match=r"found a whole object \(timm\.models\.resnet\.ResNet"):
        load(wrap(model), tmp_path)


class _Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"open({str(self.path)!r}, 'w').close()",)


def test_code_in_a_checkpoint_is_not_run(model: nn.Module, tmp_path: Path) -> None:
    trap = _Trap(tmp_path / "sprung")
    found = load({"state_dict": model.state_dict(), "callbacks": trap}, tmp_path)
    assert_same_answers(found.network, model)
    assert not (tmp_path / "sprung").exists()


def test_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.pth").write_bytes(b"any")
    with pytest.raises(
        WeightsError, match=r"m\.pth: expected a state dict .* found something else"
    ):
        open_checkpoint(tmp_path / "m.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [({}, "found dict without any tensor"), ([1], "found list without any tensor")],
)
def test_file_without_tensors_is_refused(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=message):
        load(content, tmp_path)


def test_labels_and_network_are_read_from_what_lies_beside(
    model: nn.Module, tmp_path: Path
) -> None:
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    config = '{"architecture": "test_resnet", "label_names": ["coat", "dress", "hat"]}'
    (tmp_path / "config.json").write_text(config)
    found = open_checkpoint(tmp_path / "model.safetensors")
    assert found.arch == ARCH
    assert found.labels[0].labels == ("coat", "dress", "hat")


def test_weights_of_transformers_are_refused_with_the_way_out(
    model: nn.Module, tmp_path: Path
) -> None:
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    config = '{"architectures": ["ResNetForImageClassification"], "id2label": {"0": "hat"}}'
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(WeightsError, match=r"transformers .ResNetFor.* optimum-cli export onnx"):
        open_checkpoint(tmp_path / "model.safetensors")


def test_labels_are_read_from_a_checkpoint(model: nn.Module, tmp_path: Path) -> None:
    content = {"model": model.state_dict(), "class_to_idx": {"hat": 1, "coat": 0}}
    torch.save(content, tmp_path / "m.pth")
    assert open_checkpoint(tmp_path / "m.pth").labels[0].labels == ("coat", "hat")
