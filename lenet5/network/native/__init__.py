"""LeNet-5 for one core: a training step and inference in C.

    network = NativeNetwork(model)
    optimizer = torch.optim.Adam(network.parameters, fused=True)
    loss = cross_entropy(network(images, indices), labels)
    loss.backward()

computes what `model` computes, in the model's own parameters and running averages; the parameters become views of one
vector. Loss, optimizer and dropout's random numbers are PyTorch's. lenet5.c says how the arrays lie and why.
"""

import ctypes
import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lenet5.network.model import CLASSES, LeNet5
from lenet5.network.native.build import build as build_library

WIDEST = 120  # columns of the batch statistics at the start of a workspace: C5's units


@functools.cache
def library() -> ctypes.CDLL:
    """The compiled C file, built if need be. Raises UserError, see build.py."""
    return declared(ctypes.CDLL(str(build_library())))


def declared(library: ctypes.CDLL) -> ctypes.CDLL:
    """Tells ctypes the types of what lenet5.c exports."""
    number, flag, pointer = ctypes.c_int64, ctypes.c_int, ctypes.c_void_p
    library.workspace_size.argtypes, library.workspace_size.restype = [number, flag], number
    library.train_forward.argtypes = [number, number, pointer, pointer, flag, *[pointer] * 6]
    library.train_backward.argtypes = [number, flag, flag, *[pointer] * 4]
    library.infer.argtypes = [number, number, *[pointer] * 4]
    return library


class NativeNetwork:
    """`network(images, indices)` are the model's logits for images picked from a data set, 1/255 a grey level.

    In training mode the logits can be differentiated, once and before the next call, with respect to
    `network.vector`: all the model's parameters in one vector, in the order of `model.parameters()`.
    In evaluation mode they cannot.
    """

    def __init__(self, model: LeNet5) -> None:
        self.model = model
        self.norms: list[Any] = [
            n for n in (model.c1.norm, model.c3.norm, model.c5_norm) if not isinstance(n, nn.Identity)
        ]
        self.epsilon = (ctypes.c_double * 3)(*(norm.eps for norm in self.norms))
        self.vector = nn.Parameter(nn.utils.parameters_to_vector(model.parameters()).detach())
        self.parameters = [self.vector]  # what the optimizer steps
        for parameter, view in zip(model.parameters(), self.views(self.vector.detach()), strict=True):
            parameter.data = view
        self.capacity, self.turn = 0, 0  # the workspace's, in images; how often it has been written to
        self.workspace = torch.empty(0)
        # The running averages too become views of one tensor, and one operation moves them all.
        self.running, self.batches = torch.zeros(len(self.norms), 2, WIDEST), torch.zeros(len(self.norms)).long()
        for norm, running, batches in zip(self.norms, self.running, self.batches, strict=True):
            running[:, : norm.num_features] = torch.stack([norm.running_mean, norm.running_var])
            norm.running_mean, norm.running_var = running[:, : norm.num_features]
            norm.num_batches_tracked = batches.copy_(norm.num_batches_tracked)

    def views(self, vector: Tensor) -> list[Tensor]:
        """The parts of a vector like `vector`, in the shapes of the model's parameters."""
        parts = torch.split(vector, [parameter.numel() for parameter in self.model.parameters()])
        return [part.view_as(parameter) for part, parameter in zip(parts, self.model.parameters(), strict=True)]

    def __call__(self, images: Tensor, indices: Tensor) -> Tensor:
        """images: uint8 N x 1 x 32 x 32; indices: int64 B, each in [0, N); to float32 logits B x 10.

        Raises ValueError for other shapes, types or layouts, and for a batch of one where batch normalisation needs
        two; IndexError for an index out of range.
        """
        if images.dtype != torch.uint8 or images.shape[1:] != (1, 32, 32) or not images.is_contiguous():
            raise ValueError(f"images must be uint8 N x 1 x 32 x 32, not {images.dtype} {tuple(images.shape)}")
        if indices.dtype != torch.int64 or indices.dim() != 1 or not indices.is_contiguous():
            raise ValueError(f"indices must be an int64 vector, not {indices.dtype} {tuple(indices.shape)}")
        if not self.model.training:
            return self._infer(images, indices)
        if self.norms and len(indices) < 2:
            raise ValueError("batch normalisation needs at least two images in a batch")
        logits: Tensor = _Training.apply(self.vector, self, images, indices)  # type: ignore[no-untyped-call]
        return logits

    @torch.no_grad()
    def _infer(self, images: Tensor, indices: Tensor) -> Tensor:
        """Batch normalisation by the running averages goes into weight and bias of the layer before it. Its root is
        taken by rsqrt: for sqrt, PyTorch calls a library that computes it otherwise on AMD's processors."""
        vector: Tensor = self.vector
        if self.norms:
            model, parts = self.model, list[Tensor]()
            layers: list[Any] = [model.c1.convolution, model.c3.convolution, model.c5]
            for layer, norm in zip(layers, self.norms, strict=True):
                scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
                parts += [
                    layer.weight.flatten(1) * scale[:, None],
                    (layer.bias - norm.running_mean) * scale + norm.bias,
                ]
            parts += [*model.f6.parameters(), *model.output.parameters()]
            vector = torch.cat([part.flatten() for part in parts])
        logits = torch.empty(len(indices), CLASSES)
        arrays = [array.data_ptr() for array in (images, indices, vector, logits)]
        if not library().infer(len(indices), len(images), *arrays):
            raise IndexError(f"indices must lie in [0, {len(images)})")
        return logits


class _Training(torch.autograd.Function):
    """All layers in training mode: the parameter vector to logits B x 10."""

    @staticmethod
    def forward(ctx: Any, parameters: Tensor, network: NativeNetwork, images: Tensor, indices: Tensor) -> Tensor:
        batch, normed, dropout = len(indices), bool(network.norms), network.model.dropout.p
        if batch > network.capacity:
            network.capacity = batch
            network.workspace = torch.empty(library().workspace_size(batch, normed))
        network.turn += 1
        logits = torch.empty(batch, CLASSES)
        # As nn.Dropout draws them, so that both backends drop the same units
        noise = [torch.empty(batch, n).bernoulli_(1 - dropout).div_(1 - dropout) for n in (120, 84) if dropout]
        c5_noise, f6_noise = (n.data_ptr() for n in noise) if noise else (None, None)
        results = network.workspace.data_ptr(), logits.data_ptr()
        given = images.data_ptr(), indices.data_ptr(), normed, parameters.data_ptr(), network.epsilon
        if not library().train_forward(batch, len(images), *given, c5_noise, f6_noise, *results):
            raise IndexError(f"indices must lie in [0, {len(images)})")
        if normed:  # mean and unbiased variance come first among the statistics, and these first in the workspace
            statistics = network.workspace[: 3 * 5 * WIDEST].view(3, 5, WIDEST)
            network.running.lerp_(statistics[:, :2], network.norms[0].momentum)
            network.batches += 1
        ctx.save_for_backward(parameters)
        ctx.network, ctx.turn, ctx.dropout = network, network.turn, bool(noise)
        return logits

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, logits_gradient: Tensor) -> tuple[Tensor | None, ...]:
        network: NativeNetwork = ctx.network
        (parameters,) = ctx.saved_tensors
        if ctx.turn != network.turn:
            raise RuntimeError("backward() after another forward pass, which has overwritten what it needs")
        gradient, logits_gradient = torch.empty_like(parameters), logits_gradient.contiguous()
        arrays = [a.data_ptr() for a in (parameters, network.workspace, logits_gradient, gradient)]
        library().train_backward(len(logits_gradient), bool(network.norms), ctx.dropout, *arrays)
        return gradient, None, None, None
