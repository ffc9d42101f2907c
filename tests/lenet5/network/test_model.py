"""The architecture of LeNet-5."""

import pytest
import torch
from torch import nn

from lenet5.network.model import LeNet5, parameter_count, to_pixels

# The layer table of the exercise: the shape of each layer's output.
LAYERS = {
    "c1.convolution": (6, 28, 28),
    "c1.pool": (6, 14, 14),
    "c3.convolution": (16, 10, 10),
    "c3.pool": (16, 5, 5),
    "c5": (120,),
    "f6": (84,),
    "output": (10,),
}


def output_shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    shapes = {}
    for name, module in model.named_modules():
        module.register_forward_hook(
            lambda _module, _inputs, output, name=name: shapes.update({name: output.shape[1:]})
        )
    model(torch.zeros(2, 1, 32, 32))
    return {name: tuple(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("batch_norm", [False, True])
def test_every_layer_has_the_shape_in_the_exercises_table(batch_norm: bool) -> None:
    shapes = output_shapes(LeNet5(batch_norm=batch_norm))
    assert {name: shapes[name] for name in LAYERS} == LAYERS


def test_batch_norm_adds_two_parameters_per_channel_to_61706() -> None:
    assert parameter_count(LeNet5()) == 61_706
    assert parameter_count(LeNet5(dropout=0.5)) == 61_706
    assert parameter_count(LeNet5(batch_norm=True)) == 61_706 + 2 * (6 + 16 + 120)


def test_batch_norm_lies_between_each_convolution_and_its_relu() -> None:
    model = LeNet5(batch_norm=True)
    order: list[str] = []
    for name, module in model.named_modules():
        if not list(module.children()):
            module.register_forward_hook(lambda _module, _inputs, _output, name=name: order.append(name))
    model(torch.zeros(2, 1, 32, 32))
    assert order[:4] == ["c1.convolution", "c1.norm", "c1.relu", "c1.pool"]
    assert order[4:8] == ["c3.convolution", "c3.norm", "c3.relu", "c3.pool"]
    assert order[8:11] == ["c5", "c5_norm", "relu"]
    channels = [
        module.num_features for module in model.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
    ]
    assert channels == [6, 16, 120]


def test_batch_norm_is_off_by_default() -> None:
    assert not any("norm" in name for name in LeNet5(dropout=0.2).state_dict())


def test_dropout_is_random_in_training_and_off_in_evaluation() -> None:
    model, images = LeNet5(dropout=0.5), torch.rand(4, 1, 32, 32)
    model.train()
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))
    without = LeNet5()
    without.load_state_dict(model.state_dict())
    assert torch.equal(model(images), without(images))


def test_c5_equals_a_convolution_that_covers_its_whole_input() -> None:
    model, maps = LeNet5(), torch.rand(3, 16, 5, 5)
    convolution = nn.functional.conv2d(maps, model.c5.weight.view(120, 16, 5, 5), model.c5.bias)
    torch.testing.assert_close(model.c5(maps.flatten(1)), convolution.flatten(1))


def test_pixels_lie_between_0_and_1() -> None:
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(to_pixels(images).flatten(), torch.arange(256) / 255)
