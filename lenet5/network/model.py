"""LeNet-5 with ReLU, average pooling and, optionally, batch normalisation and dropout.

LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, Proc. IEEE 86(11), 1998. The
layer names C1, C3, C5 and F6 are from this paper; S2 and S4 are the pooling at the end of a convolution block. As in
most teaching versions, C3 uses all six maps, the non-linearity is ReLU and the output layer is linear.
"""

import torch
from torch import Tensor, nn

from lenet5.support.params import CLASS_NAMES

CLASSES = len(CLASS_NAMES)


class ConvolutionBlock(nn.Module):
    """5x5 convolution, optional batch normalisation, ReLU, 2x2 average pooling: N x C x H x H to N x K x P x P with
    P = (H - 4) / 2."""

    def __init__(self, in_channels: int, out_channels: int, *, batch_norm: bool) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(in_channels, out_channels, kernel_size=5)
        self.norm = nn.BatchNorm2d(out_channels) if batch_norm else nn.Identity()
        self.relu = nn.ReLU()
        self.pool = nn.AvgPool2d(kernel_size=2)

    def forward(self, maps: Tensor) -> Tensor:
        pooled: Tensor = self.pool(self.relu(self.norm(self.convolution(maps))))
        return pooled


class LeNet5(nn.Module):
    """LeNet-5: float32 pixels in [0, 1], N x 1 x 32 x 32, to float32 logits, N x 10.

    The 5x5 kernel of C5 covers its whole 5x5 input, so that the convolution is a matrix product on the 400 flattened
    features. Written as nn.Linear, it has the same parameters and initial weights at a fraction of the cost.
    """

    def __init__(self, *, batch_norm: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.c1 = ConvolutionBlock(1, 6, batch_norm=batch_norm)  # 1x32x32 -> 6x28x28 -> 6x14x14
        self.c3 = ConvolutionBlock(6, 16, batch_norm=batch_norm)  # -> 16x10x10 -> 16x5x5
        self.c5 = nn.Linear(16 * 5 * 5, 120)
        self.c5_norm = nn.BatchNorm1d(120) if batch_norm else nn.Identity()
        self.f6 = nn.Linear(120, 84)
        self.output = nn.Linear(84, CLASSES)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(dropout)

    def forward(self, pixels: Tensor) -> Tensor:
        maps = self.c3(self.c1(pixels))
        c5 = self.dropout(self.relu(self.c5_norm(self.c5(torch.flatten(maps, start_dim=1)))))
        f6 = self.dropout(self.relu(self.f6(c5)))
        logits: Tensor = self.output(f6)
        return logits


def to_pixels(images: Tensor) -> Tensor:
    """Return uint8 images, N x 1 x 32 x 32, as the float32 pixels in [0, 1] that LeNet5 takes."""
    return images.float().div_(255)


class TorchNetwork:
    """A LeNet5 computed by PyTorch's own modules: the reference for every other backend."""

    def __init__(self, model: LeNet5) -> None:
        self.model = model
        self.parameters = list(model.parameters())  # what the optimizer updates

    def __call__(self, images: Tensor, indices: Tensor) -> Tensor:
        """Return the logits, float32 B x 10, of the images (uint8 N x 1 x 32 x 32) at `indices` (int64 B)."""
        logits: Tensor = self.model(to_pixels(images[indices]))
        return logits


def parameter_count(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
