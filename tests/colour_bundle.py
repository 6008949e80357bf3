"""A real bundle, small enough to build in a test: it tells the colour of an image from its mean.

The confidence is that of a softmax over the squared distance to five pure colours, so a plain red
image is "red" with nearly 1, and a mixture is unsure: everything a trained model does, in 4 kB. Its
activation map says for each pixel how much it speaks for the answer, more than for the
other colours.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from shopwindow.bundle import (
    ACTIVATION_OUTPUT,
    METADATA_KEY,
    BundleInfo,
    Families,
    LabelColumn,
    Threshold,
)
from shopwindow.bundle.embedding_output import append_embedding
from shopwindow.imaging.preprocess import ResizeRule

HEIGHT_PX, WIDTH_PX = 8, 6

COLOURS = {
    "red": (1, 0, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
    "black": (0, 0, 0),
    "white": (1, 1, 1),
}
BRIGHTNESS = {"dark": (0, 0, 0), "light": (1, 1, 1)}


def colour_info() -> BundleInfo:
    return BundleInfo(
        name="colours",
        version="1.0",
        created="2026-01-31T12:00:00Z",
        rule=ResizeRule(HEIGHT_PX, WIDTH_PX, "pad"),
        columns=(
            LabelColumn("colour", tuple(COLOURS)),
            LabelColumn("brightness", tuple(BRIGHTNESS)),
        ),
        threshold=Threshold(min_confidence=0.8, precision=0.95, coverage=0.9),
        families=(
            Families(
                "kind",
                ("hue", "hue", "hue", "grey", "grey"),
                Threshold(min_confidence=0.7, precision=0.95, coverage=0.95),
            ),
        ),
        quality={
            "accuracy": 0.93,
            "top5_accuracy": 1.0,
            "macro_f1": 0.92,
            "ece": 0.02,
            "images": 200,
            "attributes": {"brightness": {"accuracy": 0.97}},
            "also": [
                {
                    "source": "phone photos",
                    "images": 50,
                    "accuracy": 0.734,
                    "ece": 0.06,
                    "sure": {"precision": 0.884, "coverage": 0.5},
                }
            ],
            "reliability": [
                {"from": 0.0, "to": 0.8, "images": 50, "accuracy": 0.54},
                {"from": 0.8, "to": 0.99, "images": 50, "accuracy": 0.92},
                {"from": 0.99, "to": 1.0, "images": 100, "accuracy": 1.0},
            ],
            "labels": [
                {"label": "red", "images": 60, "recall": 0.95, "precision": 0.9},
                {"label": "green", "images": 60, "recall": 0.8, "precision": 0.96},
                {"label": "blue", "images": 40, "recall": 0.975, "precision": 0.951},
                {"label": "black", "images": 40, "recall": 0.7, "precision": 0.875},
                {"label": "white", "images": 0, "recall": None, "precision": 0.0},
            ],
            "confusions": [
                {"label": "black", "taken_for": "blue", "images": 9, "share": 0.225},
                {"label": "green", "taken_for": "black", "images": 4, "share": 0.0667},
            ],
        },
        data={
            "source": "plain colours",
            "images": 1000,
            "train": 800,
            "valid": 200,
            "dropped": 0,
            "split": {"method": "grouped", "seed": 42, "valid_fraction": 0.2, "digest": "0" * 64},
            "min_images": 11,
        },
        training={
            "recipe": "none",
            "arch": "mean colour",
            "weights": "none",
            "epochs": 0,
            "seed": 42,
            "minutes": 0.0,
            "versions": {},
        },
        card={
            "title": "Colours",
            "summary": "Tells the main colour of an image from its mean.",
            "data": "None: the five colours are written down.",
            "licence": "MIT",
            "limits": ["Knows five colours."],
            "intended_use": "Tests.",
        },
        activation_map=True,
    )


def colour_graph() -> onnx.GraphProto:
    nodes = [
        helper.make_node("Cast", ["images"], ["as_float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["as_float", "white"], ["scaled"]),
        helper.make_node("ReduceMean", ["scaled"], ["mean"], axes=[1, 2], keepdims=0),
    ]
    constants = [_constant("white", np.float32(255))]
    for column, prototypes in (("colour", COLOURS), ("brightness", BRIGHTNESS)):
        points = np.array(list(prototypes.values()), np.float32)  # (C, 3)
        constants += [
            _constant(f"{column}_weight", 20 * points.T),
            _constant(f"{column}_bias", -10 * (points**2).sum(1)),
        ]
        if column == "colour":
            constants += [_constant("contrast", 20 * (points - points.mean(0)))]  # (C, 3)
            constants += [numpy_helper.from_array(np.array([1, 2], np.int64), "space")]
        nodes += [
            helper.make_node(
                "Gemm", ["mean", f"{column}_weight", f"{column}_bias"], [f"{column}_logits"]
            ),
            helper.make_node("Softmax", [f"{column}_logits"], [column], axis=1),
        ]
    mapping = [
        helper.make_node("ArgMax", ["colour_logits"], ["answer"], axis=1, keepdims=0),
        helper.make_node("Gather", ["contrast", "answer"], ["answer_weights"]),  # (N, 3)
        helper.make_node("Unsqueeze", ["answer_weights", "space"], ["by_place"]),  # (N, 1, 1, 3)
        helper.make_node("Mul", ["scaled", "by_place"], ["evidence"]),
        helper.make_node("ReduceSum", ["evidence", "channel"], [ACTIVATION_OUTPUT], keepdims=0),
    ]
    constants.append(numpy_helper.from_array(np.array([3], np.int64), "channel"))
    nodes[-2:-2] = mapping
    images = helper.make_tensor_value_info(
        "images", TensorProto.UINT8, ["N", HEIGHT_PX, WIDTH_PX, 3]
    )
    outputs = [
        helper.make_tensor_value_info(column, TensorProto.FLOAT, ["N", len(prototypes)])
        for column, prototypes in (("colour", COLOURS), ("brightness", BRIGHTNESS))
    ]
    outputs.append(
        helper.make_tensor_value_info(
            ACTIVATION_OUTPUT, TensorProto.FLOAT, ["N", HEIGHT_PX, WIDTH_PX]
        )
    )
    return helper.make_graph(nodes, "colours", [images], outputs, constants)


def write_colour_bundle(
    path: Path,
    *,
    metadata: str | None = "",
    graph: onnx.GraphProto | None = None,
    info: BundleInfo | None = None,
    embedding: bool = False,
) -> Path:
    """Write the bundle, with another metadata text (None: without any) or another graph.

    The embedding is the mean colour, at unit length.
    """
    model = helper.make_model(
        graph or colour_graph(), opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    )
    if embedding:
        info = replace(info or colour_info(), embedding=append_embedding(model, "colour"))
    if metadata is not None:
        helper.set_model_props(
            model, {METADATA_KEY: metadata or json.dumps((info or colour_info()).as_json())}
        )
    path.write_bytes(model.SerializeToString())
    return path


def _constant(name: str, value: np.ndarray | np.generic) -> TensorProto:
    return numpy_helper.from_array(np.asarray(value, np.float32), name)
