"""Pretrained weights: through the cache of torchvision, from a file, and what is said without."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import huggingface_hub.constants
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from shopwindow.errors import UsageError, WeightsError
from shopwindow.training.network import build_classifier


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache for weights and a proxy that refuses: what a machine without network has."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    # Read once, when it is imported: without it, it tries again for most of a minute.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    # Made at the first use, with the proxies of that moment, and kept for all that comes later.
    monkeypatch.setattr(urllib.request, "_opener", None)
    return tmp_path


def test_imagenet_weights_come_from_the_cache_of_torchvision(no_network: Path) -> None:
    model = torchvision.models.resnet18(weights=None)
    torch.nn.init.constant_(model.layer1[0].conv1.weight, 0.125)
    checkpoints = no_network / "torch" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    url = torchvision.models.ResNet18_Weights.DEFAULT.url
    torch.save(model.state_dict(), checkpoints / Path(url).name)
    classifier, _ = build_classifier("resnet18", [3, 2], size_px=(64, 64), weights="imagenet")
    values = dict(classifier.named_parameters())["net.0.4.0.conv1.weight"]
    assert torch.equal(values, torch.full_like(values, 0.125))


@pytest.mark.parametrize("arch", ["resnet18", "mobilenetv3_small_050"])
def test_weights_that_cannot_be_fetched_name_both_ways_out(no_network: Path, arch: str) -> None:
    with pytest.raises(WeightsError, match=r"--weights FILE.*--arch tf_efficientnet_lite0"):
        build_classifier(arch, [3], size_px=(64, 64), weights="imagenet")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("arch", ["resnet18", "mobilenetv3_small_050"])
def test_weights_come_from_a_file(tmp_path: Path, arch: str, suffix: str) -> None:
    torch.manual_seed(1)
    full = torchvision.models.get_model(arch) if arch == "resnet18" else timm.create_model(arch)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(full.state_dict(), path)
    else:
        save_file(full.state_dict(), path)
    torch.manual_seed(2)
    classifier, _ = build_classifier(arch, [3], size_px=(64, 64), weights=str(path))
    wanted = full.conv1.weight if arch == "resnet18" else full.conv_stem.weight
    assert any(
        parameter.shape == wanted.shape and torch.equal(parameter, wanted)
        for parameter in classifier.parameters()
    )


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "resnet34.pth"
    torch.save(torchvision.models.resnet18().state_dict(), path)
    with pytest.raises(WeightsError, match=r"expected the weights of resnet34.*--arch"):
        build_classifier("resnet34", [3], size_px=(64, 64), weights=str(path))


def test_weight_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(torchvision.models.resnet18(), path)
    with pytest.raises(WeightsError, match="without pickled code"):
        build_classifier("resnet18", [3], size_px=(64, 64), weights=str(path))


def test_missing_weight_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="found no file"):
        build_classifier("resnet18", [3], size_px=(64, 64), weights=str(tmp_path / "none.pth"))


def test_unknown_architecture_suggests_names() -> None:
    with pytest.raises(UsageError, match="resnet"):
        build_classifier("resnet1000", [3], size_px=(64, 64))


@pytest.mark.parametrize("arch", ["shufflenet_v2_x0_5", "vit_b_32", "inception_v3"])
def test_networks_that_cannot_be_cut_are_refused_with_a_sentence(arch: str) -> None:
    with pytest.raises(UsageError, match=r"arch: expected a network .*--arch"):
        build_classifier(arch, [3], size_px=(64, 64))
