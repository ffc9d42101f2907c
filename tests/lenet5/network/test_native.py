"""The native backend against the readable model: outputs, gradients, running averages, sizes, errors."""

import copy
import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import lenet5.network.model
from lenet5.network import native
from lenet5.network.inference import network_of
from lenet5.network.model import LeNet5
from lenet5.network.native import NativeNetwork, build
from lenet5.support.errors import UserError
from tests.lenet5.network.native_models import (
    IMAGES,
    LABELS,
    TECHNIQUES,
    images,
    native_results,
    network_results,
    new_model,
    pick,
    torch_results,
)


@pytest.mark.parametrize("batch", [1, 7, 16, 63, 64, 65, 193])
@pytest.mark.parametrize("technique", TECHNIQUES, ids=str)
def test_error_is_at_most_twice_pytorchs(technique: dict[str, float], batch: int) -> None:
    """Errors against float64, for each tensor, of the three best of six models: where rounding decides the sign of an
    input of ReLU the gradient jumps, which is an error of neither backend."""
    if "batch_norm" in technique and batch == 1:
        pytest.skip("batch normalisation needs two images")
    ours: dict[str, list[float]] = {}
    theirs: dict[str, list[float]] = {}
    for seed in range(6):
        model, indices = new_model(technique, seed), pick(batch, seed)
        exact = torch_results(copy.deepcopy(model).double(), indices)
        for results, errors in (
            (native_results(copy.deepcopy(model), indices), ours),
            (torch_results(model, indices), theirs),
        ):
            for name, value in results.items():
                scale = exact[name].norm().clamp_min(1e-12)
                errors.setdefault(name, []).append(float((value.double() - exact[name]).norm() / scale))
    for name, mine in ours.items():
        if "batch_norm" in technique and name in ("c1.convolution.bias", "c3.convolution.bias", "c5.bias"):
            continue  # exactly zero, see the next test
        assert sum(sorted(mine)[:3]) <= 2 * sum(sorted(theirs[name])[:3]) + 1e-8, (name, mine, theirs[name])


def test_biases_before_batch_norm_have_no_gradient() -> None:
    results = native_results(new_model({"batch_norm": True}), pick(64))
    for name in ("c1.convolution.bias", "c3.convolution.bias", "c5.bias"):
        assert not results[name].any(), name


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Two threads in torch, on any machine: the rounding of its results depends on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("technique", TECHNIQUES, ids=str)
def test_twenty_steps_give_the_models_losses(technique: dict[str, float]) -> None:
    """Steps of Adam, with the same dropout masks, then evaluation."""
    reference = new_model(technique)
    model = copy.deepcopy(reference)
    network = NativeNetwork(model)
    losses = []
    for parameters, forward in (
        (list(reference.parameters()), lambda i: reference(images()[i].float().div(255))),
        (network.parameters, lambda i: network(images(), i)),
    ):
        torch.manual_seed(2)
        optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)
        curve = []
        for step in range(20):
            indices = pick(64 if step % 5 else 33, seed=step)
            optimizer.zero_grad()
            loss = F.cross_entropy(forward(indices), LABELS[indices])
            loss.backward()
            optimizer.step()
            curve.append(loss.item())
        losses.append(curve)
    # Adam scales the smallest gradients up to full steps, so rounding grows from step to step.
    torch.testing.assert_close(losses[1][:8], losses[0][:8], rtol=2e-4, atol=2e-4)
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-2, atol=1e-2)
    model.eval(), reference.eval()
    with torch.no_grad():
        expected = reference(images().float().div(255))
    torch.testing.assert_close(network(images(), torch.arange(IMAGES)), expected, rtol=5e-3, atol=5e-3)


def test_running_averages_are_the_models() -> None:
    reference = new_model({"batch_norm": True})
    model = copy.deepcopy(reference)
    network = NativeNetwork(model)
    for seed, batch in enumerate((64, 7, 65)):
        network(images(), pick(batch, seed))
        reference(images()[pick(batch, seed)].float().div(255))
    for (name, buffer), expected in zip(model.named_buffers(), reference.buffers(), strict=True):
        torch.testing.assert_close(buffer, expected, rtol=1e-5, atol=1e-7, msg=name)
        assert name.endswith(("mean", "var")) or int(buffer) == 3


def test_gradients_of_two_batches_are_added() -> None:
    network = NativeNetwork(new_model({}))
    network_results(network, pick(64))
    first = network.vector.grad
    network.vector.grad = None
    network_results(network, pick(33, seed=1))
    second = network.vector.grad
    network_results(network, pick(64))
    assert first is not None and second is not None and network.vector.grad is not None
    assert torch.equal(network.vector.grad, first + second)


@pytest.mark.parametrize("technique", TECHNIQUES, ids=str)
@pytest.mark.parametrize("batch", [1, 65, 512])
def test_evaluation_gives_the_models_logits(technique: dict[str, float], batch: int) -> None:
    model = new_model(technique)
    network = NativeNetwork(model)
    network(images(), pick(64))
    model.eval()
    logits = network(images(), pick(batch))
    expected = model(images()[pick(batch)].float().div(255)).detach()
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=2e-6)
    assert not logits.requires_grad
    assert torch.equal(network(images(), pick(batch)[:1]), logits[:1])  # other images of a batch do not matter


def test_pixels_are_bytes_divided_by_255() -> None:
    network = NativeNetwork(new_model({}))
    every_byte = torch.arange(1024).to(torch.uint8).view(1, 1, 32, 32).repeat(17, 1, 1, 1)
    network(every_byte, torch.arange(17))
    pixels = network.workspace[: 2 * 1024 * 16].view(2, 1024, 16)  # groups x pixels x 16 images
    expected = every_byte[0].flatten().float().div(255)
    assert all(torch.equal(pixels[i // 16, :, i % 16], expected) for i in range(17))
    assert not pixels[1, :, 1:].any()


def test_state_dict_keeps_names_shapes_and_values() -> None:
    model = new_model({"batch_norm": True})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    network = NativeNetwork(model)
    assert {name: value.shape for name, value in before.items()} == {n: v.shape for n, v in model.state_dict().items()}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.load_state_dict({name: value + 1 for name, value in before.items()})
    assert torch.equal(network.views(network.vector.detach())[0], before["c1.convolution.weight"] + 1)


def test_invalid_inputs_raise() -> None:
    network = NativeNetwork(new_model({}))
    with pytest.raises(ValueError, match="uint8"):
        network(images().float(), pick(2))
    with pytest.raises(ValueError, match="int64"):
        network(images(), pick(2).int())
    for wrong in (-1, IMAGES):
        with pytest.raises(IndexError, match="600"):
            network(images(), torch.tensor([0, wrong]))
    loss = network(images(), pick(2)).sum()
    network(images(), pick(2))
    with pytest.raises(RuntimeError, match="another forward"):
        loss.backward()
    with pytest.raises(ValueError, match="at least one image"):
        network(images(), pick(0))
    with pytest.raises(ValueError, match="two images"):
        NativeNetwork(new_model({"batch_norm": True}))(images(), pick(1))


# ---- sizes ----


def test_layers_of_another_size_raise() -> None:
    model = new_model({})
    model.f6 = torch.nn.Linear(120, 85)
    model.output = torch.nn.Linear(85, 10)
    with pytest.raises(UserError, match=r"\[6, 16, 120, 85, 10\].*sizes\.h"):
        NativeNetwork(model)


@pytest.mark.parametrize("technique", [{}, {"batch_norm": True}], ids=str)
def test_other_parameters_or_norms_raise(technique: dict[str, float]) -> None:
    without_bias, without_norm = new_model(technique), new_model({"batch_norm": True})
    without_bias.c5 = torch.nn.Linear(400, 120, bias=False)
    without_norm.c5_norm = torch.nn.Identity()
    for model in (without_bias, without_norm):
        with pytest.raises(UserError, match=r"The model has \d+ parameters and [023] batch normalisations; the native"):
            NativeNetwork(model)


class WithTanh(LeNet5):
    """An edited network with the sizes of LeNet-5."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.relu = torch.nn.Tanh()  # type: ignore[assignment]


class WithMaximum(LeNet5):
    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.c1.pool = torch.nn.MaxPool2d(2)  # type: ignore[assignment]


class WithAlphaDropout(LeNet5):
    """Differs in training only."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.dropout = torch.nn.AlphaDropout(self.dropout.p)  # type: ignore[assignment]


@pytest.mark.parametrize("edited", [WithTanh, WithMaximum, WithAlphaDropout])
def test_another_network_of_the_same_sizes_raises(edited: type[LeNet5]) -> None:
    for batch_norm in (False, True):
        network_of(LeNet5(batch_norm=batch_norm), "native")
        network_of(edited(batch_norm=batch_norm), "torch")
        with pytest.raises(UserError, match=r"is not the network that the native backend computes: set train\.backend"):
            network_of(edited(batch_norm=batch_norm), "native")


@pytest.mark.parametrize("technique", [TECHNIQUES[0], TECHNIQUES[3]], ids=str)
def test_seven_classes_need_one_changed_line_of_python(
    technique: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ten_classes = build.build()
    monkeypatch.setattr(lenet5.network.model, "CLASSES", 7)
    monkeypatch.setattr(build, "FLAGS", [*build.FLAGS, "-UCLASSES", "-DCLASSES=7"])
    monkeypatch.setattr(build, "LIBRARIES", tmp_path)
    path = build.build()
    assert path.name != ten_classes.name
    library = native.with_signatures(ctypes.CDLL(str(path)))
    monkeypatch.setattr(native, "library", lambda: library)

    model, indices, labels = new_model(technique), pick(71), LABELS % 7
    expected = torch_results(copy.deepcopy(model), indices, labels)
    assert expected["logits"].shape == (71, 7)
    torch.testing.assert_close(native_results(model, indices, labels), expected, rtol=1e-4, atol=1e-5)
    model.eval()
    logits = model(images()[indices].float().div(255)).detach()
    torch.testing.assert_close(NativeNetwork(model)(images(), indices), logits, rtol=1e-5, atol=2e-6)
