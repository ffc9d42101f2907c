"""LeNet-5 for one CPU core: a training step and inference in C.

    network = NativeNetwork(model)
    optimizer = torch.optim.Adam(network.parameters, fused=True)
    loss = cross_entropy(network(images, indices), labels)
    loss.backward()

This computes what `model` computes, with the model's own parameters and running averages; the parameters become views
of one vector. The loss, the optimizer and the random numbers of dropout are PyTorch's. lenet5.c explains the layout of
the arrays, sizes.h defines the sizes of the layers.
"""

import ctypes
import functools
from typing import Any

import torch
from torch import Tensor, nn

from lenet5.network.model import LeNet5
from lenet5.network.native.build import build as build_library
from lenet5.support.errors import UserError


@functools.cache
def library() -> ctypes.CDLL:
    """Return the compiled library, which is built first if necessary. Raises UserError if that fails, see build.py, or
    if the library cannot be loaded."""
    path = build_library()
    try:
        return with_signatures(ctypes.CDLL(str(path)))
    except OSError as error:
        raise UserError(f"{path} cannot be loaded ({error}). Delete it, and run the same command again.") from None


def with_signatures(library: ctypes.CDLL) -> ctypes.CDLL:
    """Return the library after setting the argument and result types of the functions that lenet5.c exports."""
    number, flag, pointer = ctypes.c_int64, ctypes.c_bool, ctypes.c_void_p
    library.parameter_count.argtypes, library.parameter_count.restype = [flag], number
    library.workspace_size.argtypes, library.workspace_size.restype = [number, flag], number
    library.train_forward.argtypes = [number, number, pointer, pointer, flag, *[pointer] * 7]
    library.train_forward.restype = flag
    library.train_backward.argtypes = [number, flag, flag, *[pointer] * 4]
    library.train_backward.restype = None
    library.infer.argtypes, library.infer.restype = [number, number, *[pointer] * 4], flag
    return library


def layer_outputs(model: LeNet5) -> list[int]:
    """Return the number of channels or units of C1, C3, C5, F6 and the output layer."""
    convolutions = [block.convolution.out_channels for block in (model.c1, model.c3)]
    return convolutions + [layer.out_features for layer in (model.c5, model.f6, model.output)]


class NativeNetwork:
    """`network(images, indices)` returns the model's logits for images selected from a data set.

    In training mode, `backward()` of a loss of these logits computes `network.vector.grad`, where `vector` holds all
    parameters of the model in the order of `model.parameters()`: once, before the next call, and before the parameters
    change. In evaluation mode the logits have no gradient.

    Raises UserError if the layers of `model` have other sizes than sizes.h, or other parameters than LeNet-5's.
    """

    def __init__(self, model: LeNet5) -> None:
        compiled = list((ctypes.c_int64 * 5).in_dll(library(), "layer_outputs"))
        if layer_outputs(model) != compiled:
            raise UserError(
                f"The layers of the model have {layer_outputs(model)} outputs, those of the native backend {compiled}. "
                "Set train.backend to torch in params.yaml, or change lenet5/network/native/sizes.h."
            )
        self.model = model
        self.norms: list[Any] = [
            n for n in (model.c1.norm, model.c3.norm, model.c5_norm) if not isinstance(n, nn.Identity)
        ]
        self.epsilons = (ctypes.c_double * 3)(*(norm.eps for norm in self.norms))
        self.vector = nn.Parameter(nn.utils.parameters_to_vector(model.parameters()).detach())
        expected = library().parameter_count(bool(self.norms))
        if len(self.vector) != expected or len(self.norms) not in (0, 3):
            raise UserError(
                f"The model has {len(self.vector)} parameters and {len(self.norms)} batch normalisations; the native "
                f"backend expects {expected}, and none or three. Set train.backend to torch in params.yaml."
            )
        self.parameters = [self.vector]  # what the optimizer updates
        for parameter, view in zip(model.parameters(), self.views(self.vector.detach()), strict=True):
            parameter.data = view
        self.workspace = torch.empty(0)
        self.workspace_images = 0  # the largest batch that fits
        self.forward_passes = 0  # each overwrites the workspace
        # The running averages too become views of one tensor, which one operation updates: norms x (mean, variance) x
        # channels. The rows of the narrower norms are padded.
        width = ctypes.c_int64.in_dll(library(), "statistics_width").value
        self.statistics = torch.zeros(len(self.norms), 2, width)  # of the last batch
        self.running = torch.zeros_like(self.statistics)
        self.batches = torch.zeros(len(self.norms), dtype=torch.int64)
        for norm, running, batches in zip(self.norms, self.running, self.batches, strict=True):
            running[:, : norm.num_features] = torch.stack([norm.running_mean, norm.running_var])
            norm.running_mean, norm.running_var = running[:, : norm.num_features]
            norm.num_batches_tracked = batches.copy_(norm.num_batches_tracked)

    def views(self, vector: Tensor) -> list[Tensor]:
        """Return the parts of a vector laid out like `network.vector`, in the shapes of the model's parameters."""
        parts = torch.split(vector, [parameter.numel() for parameter in self.model.parameters()])
        return [part.view_as(parameter) for part, parameter in zip(parts, self.model.parameters(), strict=True)]

    def __call__(self, images: Tensor, indices: Tensor) -> Tensor:
        """Return logits, float32 B x classes, of images (uint8 N x 1 x 32 x 32) at indices (int64 B, each in [0, N)).

        Raises ValueError for other shapes, types or layouts, and in training mode for an empty batch or, with batch
        normalisation, one of a single image; IndexError for an index out of range.
        """
        if images.dtype != torch.uint8 or images.shape[1:] != (1, 32, 32) or not images.is_contiguous():
            raise ValueError(
                f"images must be contiguous uint8 N x 1 x 32 x 32, not {images.dtype} {tuple(images.shape)}"
            )
        if indices.dtype != torch.int64 or indices.dim() != 1 or not indices.is_contiguous():
            raise ValueError(f"indices must be a contiguous int64 vector, not {indices.dtype} {tuple(indices.shape)}")
        if not self.model.training:
            return self._infer(images, indices)
        if len(indices) < (2 if self.norms else 1):
            raise ValueError("a training batch needs at least one image, and with batch normalisation two images")
        return self._train(images, indices)

    def _train(self, images: Tensor, indices: Tensor) -> Tensor:
        model, batch, batch_norm = self.model, len(indices), bool(self.norms)
        if batch > self.workspace_images:
            self.workspace_images = batch
            self.workspace = torch.empty(library().workspace_size(batch, batch_norm))
        self.forward_passes += 1
        logits = torch.empty(batch, model.output.out_features)
        # Drawn as nn.Dropout draws them, so that both backends drop the same units
        dropout = model.dropout.p
        layers = (model.c5, model.f6) if dropout else ()
        noise = [torch.empty(batch, n.out_features).bernoulli_(1 - dropout).div_(1 - dropout) for n in layers]
        c5_noise, f6_noise = (n.data_ptr() for n in noise) if noise else (None, None)
        if not library().train_forward(
            batch,
            len(images),
            images.data_ptr(),
            indices.data_ptr(),
            batch_norm,
            self.vector.data_ptr(),
            self.epsilons,
            c5_noise,
            f6_noise,
            self.workspace.data_ptr(),
            self.statistics.data_ptr(),
            logits.data_ptr(),
        ):
            raise IndexError(f"indices must lie in [0, {len(images)})")
        if batch_norm:
            self.running.lerp_(self.statistics, self.norms[0].momentum)
            self.batches += 1
        # Not a torch.autograd.Function, which would take another 5 % of a training step
        logits.requires_grad_().register_hook(functools.partial(self._backward, self.forward_passes, bool(noise)))
        return logits

    def _backward(self, forward_pass: int, dropout: bool, logits_gradient: Tensor) -> None:
        """Add the gradient at the parameters to that of `vector`, from the gradient at the logits of a forward pass."""
        if forward_pass != self.forward_passes:
            raise RuntimeError("backward() after another forward pass, which has overwritten the activations it needs")
        gradient, logits_gradient = torch.empty_like(self.vector), logits_gradient.contiguous()
        arrays = [a.data_ptr() for a in (self.vector, self.workspace, logits_gradient, gradient)]
        library().train_backward(len(logits_gradient), bool(self.norms), dropout, *arrays)
        self.vector.grad = gradient if self.vector.grad is None else self.vector.grad + gradient

    @torch.no_grad()
    def _infer(self, images: Tensor, indices: Tensor) -> Tensor:
        vector = self._folded_parameters() if self.norms else self.vector
        logits = torch.empty(len(indices), self.model.output.out_features)
        arrays = [array.data_ptr() for array in (images, indices, vector, logits)]
        if not library().infer(len(indices), len(images), *arrays):
            raise IndexError(f"indices must lie in [0, {len(images)})")
        return logits

    def _folded_parameters(self) -> Tensor:
        """Return the parameter vector of an equal model without batch normalisation: scaling by the running averages
        is part of the weight and bias of the layer before."""
        model, parts = self.model, list[Tensor]()
        layers: list[Any] = [model.c1.convolution, model.c3.convolution, model.c5]
        for layer, norm in zip(layers, self.norms, strict=True):
            # rsqrt, since for sqrt PyTorch calls a library whose result depends on the processor
            scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
            parts.append(layer.weight.flatten(1) * scale[:, None])
            parts.append((layer.bias - norm.running_mean) * scale + norm.bias)
        parts += [*model.f6.parameters(), *model.output.parameters()]
        return torch.cat([part.flatten() for part in parts])
