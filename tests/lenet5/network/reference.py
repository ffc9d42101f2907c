"""Training steps and inference by the plain loops of reference.c."""

import ctypes
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lenet5.network.model import CLASSES, LeNet5, to_pixels
from lenet5.network.native import NativeNetwork
from lenet5.network.native.build import FLAGS, MAIN, compile_library, processor_level, target_flags
from tests.lenet5.network.native_models import LABELS, images

LAYERS = ["c1", "c3", "c5", "f6", "output"]
LAYER_COUNT, NORMS, BATCH, WIDTH, SIDE, KERNEL = 5, 3, 80, 120, 32, 5  # of the arrays in reference.c
MAPS = (LAYER_COUNT, BATCH, WIDTH, SIDE, SIDE)


class Reference:
    """reference.c, compiled by a C compiler. The arrays of a library hold the numbers of one model at a time."""

    def __init__(self, command: list[str], folder: Path) -> None:
        flags = [
            *FLAGS,
            "-Wall",
            "-Wextra",
            "-Werror",
            "-fvisibility=default",
            f"-I{MAIN.parent}",
            *target_flags(command, processor_level()),
        ]
        compile_library(command, flags, Path(__file__).with_name("reference.c"), folder / "reference.so")
        self.library = ctypes.CDLL(str(folder / "reference.so"))

    def array(self, name: str, *shape: int) -> Tensor:
        """Return a view of an array of reference.c."""
        numbers = (ctypes.c_float * math.prod(shape)).in_dll(self.library, name)
        return torch.frombuffer(numbers, dtype=torch.float32).view(shape)

    def parameters(self, model: LeNet5, prefix: str = "") -> dict[str, Tensor]:
        """Return views of the arrays' parts that hold the model's parameters or, with prefix d_, their gradients."""
        parts = {}
        for name, parameter in model.named_parameters():
            layer = next(i for i, layer in enumerate(LAYERS) if name.startswith(layer))
            kind = name.split(".")[-1]
            if "norm" in name:
                parts[name] = self.array(f"{prefix}norm_{kind}", NORMS, WIDTH)[layer, : len(parameter)]
            elif kind == "bias":
                parts[name] = self.array(prefix + kind, LAYER_COUNT, WIDTH)[layer, : len(parameter)]
            else:
                side = KERNEL if layer < NORMS else 1
                weight = self.array(prefix + kind, LAYER_COUNT, WIDTH, WIDTH, KERNEL, KERNEL)[layer]
                parts[name] = weight[: len(parameter), : parameter[0].numel() // side**2, :side, :side]
        return parts

    def logits(self, model: LeNet5, indices: Tensor, dropout: float, *, batch_norm: bool) -> Tensor:
        """Return the logits; batch normalisation, if any, is with the statistics of the batch."""
        batch = len(indices)
        self.array("x", *MAPS)[0, :batch, :1] = to_pixels(images()[indices])
        parameters = dict(model.named_parameters())
        for name, part in self.parameters(model).items():
            part.copy_(parameters[name].detach().view(part.shape))
        noise = self.array("noise", LAYER_COUNT, BATCH, WIDTH).fill_(1.0)
        torch.manual_seed(1)
        for layer, units in ((2, model.c5.out_features), (3, model.f6.out_features)):
            noise[layer, :batch, :units] = F.dropout(torch.ones(batch, units), dropout)
        self.library.forward(batch, batch_norm)
        return self.array("z", *MAPS)[-1, :batch, :CLASSES, 0, 0].clone()

    def step(self, model: LeNet5, indices: Tensor) -> dict[str, Tensor]:
        """Return logits, gradients by the name of the parameter, and means and variances of the batch."""
        batch, norms = len(indices), 3 * (not isinstance(model.c5_norm, nn.Identity))
        logits = self.logits(model, indices, model.dropout.p, batch_norm=norms > 0).requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, LABELS[indices]), logits)
        self.array("d_z", *MAPS)[-1, :batch, :CLASSES, 0, 0] = gradient
        self.library.backward(batch)
        statistics = self.array("statistics", NORMS, 2, WIDTH)[:norms].clone()
        return {
            "logits": logits.detach(),
            "statistics": statistics,
            **{name: part.clone() for name, part in self.parameters(model, "d_").items()},
        }

    def inference(self, model: LeNet5, indices: Tensor) -> Tensor:
        """Return the logits of a model in evaluation mode."""
        network = NativeNetwork(model)
        if network.norms:
            model = LeNet5()
            nn.utils.vector_to_parameters(network._folded_parameters(), model.parameters())
        return self.logits(model, indices, dropout=0.0, batch_norm=False)
