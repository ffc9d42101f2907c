"""The optimizer and the learning rate."""

import subprocess
import sys
from itertools import pairwise

import pytest
import torch

from lenet5 import Data
from lenet5.training.loop import build_network, train_epoch, training_step
from lenet5.training.optimizer import build_optimizer, scheduled_learning_rate, step_optimizer
from tests.conftest import ROOT
from tests.lenet5.training.small_run import settings


@pytest.mark.parametrize("backend", ["native", "torch"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_step_optimizer_equals_the_step_of_pytorchs_optimizer(optimizer: str, backend: str) -> None:
    chosen = settings(optimizer=optimizer, backend=backend, weight_decay=0.01)
    results = []
    for step in (lambda built: built.step(), step_optimizer):
        parameters = build_network(chosen).parameters
        built = build_optimizer(parameters, chosen)
        generator = torch.Generator().manual_seed(1)
        for number in range(8):
            for parameter in parameters:
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            built.param_groups[0]["lr"] = 0.01 / (number + 1)
            step(built)
        results.append((parameters, built.state_dict()))
    (theirs, their_state), (ours, our_state) = results
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    torch.testing.assert_close(our_state, their_state, rtol=0, atol=0)


def test_the_settings_choose_the_optimizer_and_its_values() -> None:
    parameters = build_network(settings()).parameters
    classes = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    for name, of in classes.items():
        built = build_optimizer(parameters, settings(optimizer=name, momentum=0.7, weight_decay=0.03))
        assert type(built) is of
        values = {"lr": settings().learning_rate, "weight_decay": 0.03} | ({"momentum": 0.7} if name == "sgd" else {})
        assert built.defaults | values == built.defaults


def test_the_cosine_schedule_falls_from_full_rate_to_near_zero() -> None:
    cosine = settings(schedule="cosine", epochs=80)
    rates = [scheduled_learning_rate(cosine, epoch) for epoch in range(1, 81)]
    assert rates[0] == cosine.learning_rate
    assert rates[40] == pytest.approx(cosine.learning_rate / 2)
    assert all(later < earlier for earlier, later in pairwise(rates))
    assert 0 < rates[-1] < 0.001 * cosine.learning_rate
    assert scheduled_learning_rate(settings(), 3) == settings().learning_rate


def test_weight_decay_shrinks_the_weights(data: Data) -> None:
    norms = {}
    for decay in (0.0, 0.1):
        chosen = settings(weight_decay=decay)
        network = build_network(chosen)
        step = training_step(network, build_optimizer(network.parameters, chosen), data.train, chosen)
        train_epoch(network, step, len(data.train.labels), chosen, epoch=1)
        norms[decay] = sum(parameter.detach().square().sum().item() for parameter in network.model.parameters())
    assert norms[0.1] < norms[0.0]


def test_training_leaves_pytorchs_compiler_unloaded() -> None:
    lines = [
        "import sys, torch",
        "from lenet5.training.optimizer import build_optimizer, step_optimizer",
        "from tests.lenet5.training.small_run import settings",
        "for name in ('adam', 'adamw', 'sgd'):",
        "    weight = torch.nn.Parameter(torch.zeros(1))",
        "    weight.grad = torch.ones(1)",
        "    optimizer = build_optimizer([weight], settings(optimizer=name))",
        "    step_optimizer(optimizer)",
        "    optimizer.load_state_dict(optimizer.state_dict())",
        "    step_optimizer(optimizer)",
        "    assert weight.item() < 0",
        "sys.exit('torch._dynamo' in sys.modules)",
    ]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=ROOT, check=True)
