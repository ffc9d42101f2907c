"""LeNet-5 as an ONNX model: uint8 images N x 1 x 28 x 28, as Fashion-MNIST has them, to float32 logits N x 10.

The graph includes padding to 32x32 and division by 255. It is that of LeNet5 in evaluation mode, so it has no dropout.
"""

from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from lenet5.network.model import LeNet5, to_pixels
from lenet5.preparation.prepare import pad
from lenet5.support.errors import UserError

OPSET, IR_VERSION = 17, 8  # those of ONNX 1.12, so that runtimes since 2022 can read the file
CONSTANTS = {"scale": np.float32(255), "padding": np.array([0, 0, 2, 2, 0, 0, 2, 2])}
Layer = tuple[str, list[str], dict[str, Any]]  # operator, names of its constants or parameters, attributes


def onnx_bytes(model: LeNet5, metadata: dict[str, str]) -> bytes:
    """Return the content of an ONNX file. Equal models give equal bytes.

    Raises UserError if LeNet5 was changed and `layers` was not: if a layer or parameter is missing, or if ONNX's own
    interpreter computes other logits than the model.
    """
    images = torch.randint(256, (2, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    try:
        graph = helper.make_model(
            _graph(model),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="lenet5-fashion-mnist",
        )
        helper.set_model_props(graph, metadata)
        onnx.checker.check_model(graph, full_check=True)
        (found,) = ReferenceEvaluator(graph).run(None, {"images": images.numpy()})
        with torch.inference_mode():
            np.testing.assert_allclose(found, model(to_pixels(pad(images))).numpy(), rtol=1e-3, atol=1e-3)
    except Exception as error:  # whatever the graph of another network leads to
        reason = f"{type(error).__name__}: {error}".strip().splitlines()[0][:120]
        raise UserError(
            f"LeNet5 is not the network of lenet5/export/onnx_model.py: edit `layers` ({reason})."
        ) from None
    content: bytes = graph.SerializeToString(deterministic=True)
    return content


def layers(model: LeNet5) -> list[Layer]:
    """Return the layers from the images to the logits. Each one reads the output of the layer before it."""

    def norm(name: str) -> list[Layer]:
        parameters = [f"{name}.{each}" for each in ("weight", "bias", "running_mean", "running_var")]
        module = model.get_submodule(name)
        return [("BatchNormalization", parameters, {"epsilon": module.eps})] if hasattr(module, "eps") else []

    def block(name: str) -> list[Layer]:
        convolution: Layer = ("Conv", [f"{name}.convolution.weight", f"{name}.convolution.bias"], {})
        pool: Layer = ("AveragePool", [], {"kernel_shape": [2, 2], "strides": [2, 2]})
        return [convolution, *norm(f"{name}.norm"), ("Relu", [], {}), pool]

    def dense(name: str) -> Layer:
        return "Gemm", [f"{name}.weight", f"{name}.bias"], {"transB": 1}

    return [
        ("Cast", [], {"to": TensorProto.FLOAT}),
        ("Div", ["scale"], {}),
        ("Pad", ["padding"], {}),
        *block("c1"),
        *block("c3"),
        ("Flatten", [], {}),
        dense("c5"),
        *norm("c5_norm"),
        ("Relu", [], {}),
        dense("f6"),
        ("Relu", [], {}),
        dense("output"),
    ]


def _graph(model: LeNet5) -> onnx.GraphProto:
    values = CONSTANTS | {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    last = "images"
    for number, (operator, names, attributes) in enumerate(described := layers(model), start=1):
        output = "logits" if number == len(described) else f"{number}-{operator}"
        nodes.append(helper.make_node(operator, [last, *names], [output], **attributes))
        constants += [numpy_helper.from_array(np.asarray(values[name]), name) for name in names]
        last = output
    classes = model.output.out_features
    return helper.make_graph(
        nodes,
        "LeNet5",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 1, 28, 28])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes])],
        constants,
    )
