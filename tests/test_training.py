import io
from functools import partial
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
import torch
from stages.dataset import make_split
from stages.training import (
    Data,
    Progress,
    Row,
    build_network,
    build_optimizer,
    curve_csv,
    derived_seed,
    scheduled_learning_rate,
    step_optimizer,
    train,
    train_epoch,
    training_step,
)

from lenet5.network.inference import Network
from lenet5.support.params import TrainSettings, load_params
from lenet5.training.checkpoint import Checkpoint
from tests.project import small_images


@pytest.fixture(scope="module")
def data() -> Data:
    splits = (small_images(count, seed) for seed, count in enumerate((150, 60, 60)))
    return Data(*(make_split(torch.from_numpy(images), torch.from_numpy(labels)) for images, labels in splits))


def settings(**overrides: object) -> TrainSettings:
    defaults = load_params().train.model_dump() | {"epochs": 4}
    return TrainSettings.model_validate(defaults | overrides)


class StoppedError(Exception):
    pass


def stop_after(epoch: int, progress: Progress) -> None:
    if progress.rows[-1].epoch == epoch:
        raise StoppedError


TECHNIQUES: list[dict[str, object]] = [
    {},
    {"batch_norm": True},
    {"dropout": 0.2},
    {"weight_decay": 0.001},
    {"optimizer": "sgd"},
]
TECHNIQUES += [{"backend": "torch", "batch_norm": True, "dropout": 0.2}]


@pytest.mark.parametrize("overrides", TECHNIQUES)
def test_a_training_stopped_after_any_epoch_ends_as_one_that_was_not(
    overrides: dict[str, object], data: Data, tmp_path: Path
) -> None:
    whole = train(settings(**overrides), data, Checkpoint(tmp_path / "whole.pt"), lambda _: None)
    checkpoint = Checkpoint(tmp_path / "stopped.pt")
    for epoch in (1, 3):
        with pytest.raises(StoppedError):
            train(settings(**overrides), data, checkpoint, partial(stop_after, epoch))
    resumed = train(settings(**overrides), data, checkpoint, lambda _: None)
    assert resumed.resumed_from == 3
    assert resumed.rows == whole.rows
    assert all(torch.equal(resumed.best_weights[name], tensor) for name, tensor in whole.best_weights.items())


def test_the_kept_weights_are_those_of_the_epoch_of_lowest_validation_loss(data: Data, tmp_path: Path) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    progress = train(
        settings(epochs=8, learning_rate=0.05),
        data,
        Checkpoint(tmp_path / "c.pt"),
        lambda p: seen.append(p.best_weights),
    )
    losses = [row.validation_loss for row in progress.rows]
    best = losses.index(min(losses))
    assert progress.best.epoch == best + 1
    assert seen[-1] is seen[best]
    assert best == 0 or seen[best] is not seen[best - 1]


def test_of_equal_validation_losses_the_earliest_epoch_is_kept() -> None:
    rows = [Row(epoch, 1, loss, 1, 0, 0, 0) for epoch, loss in ((1, 0.7), (2, 0.5), (3, 0.5))]
    assert Progress(rows).best.epoch == 2


def test_seeds_differ_by_seed_purpose_and_epoch_and_are_always_the_same() -> None:
    seeds = {derived_seed(*key) for key in [(0, "order", 1), (0, "order", 2), (0, "dropout", 1), (1, "order", 1)]}
    assert len(seeds) == 4
    # Written down, since a change here would silently change every result.
    assert derived_seed(0, "order", 1) == 4489457307835839548


def test_the_cosine_schedule_falls_from_the_full_rate_to_near_zero() -> None:
    cosine = settings(schedule="cosine", epochs=80)
    rates = [scheduled_learning_rate(cosine, epoch) for epoch in range(1, 81)]
    assert rates[0] == cosine.learning_rate
    assert rates[40] == pytest.approx(cosine.learning_rate / 2)
    assert all(later < earlier for earlier, later in pairwise(rates))
    assert 0 < rates[-1] < 0.001 * cosine.learning_rate
    assert scheduled_learning_rate(settings(), 3) == settings().learning_rate


@pytest.mark.parametrize("backend", ["native", "torch"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_the_short_way_to_the_kernel_steps_as_pytorchs_optimizer_does(optimizer: str, backend: str) -> None:
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


def train_one_epoch(network: Network, data: Data, chosen: TrainSettings) -> None:
    step = training_step(network, build_optimizer(network.parameters, chosen), data.train, chosen)
    train_epoch(network, step, len(data.train.labels), chosen, epoch=1)


def test_weight_decay_shrinks_what_the_loss_does_not_hold(data: Data) -> None:
    norms = {}
    for decay in (0.0, 0.1):
        chosen = settings(weight_decay=decay)
        network = build_network(chosen)
        train_one_epoch(network, data, chosen)
        norms[decay] = sum(parameter.detach().square().sum().item() for parameter in network.model.parameters())
    assert norms[0.1] < norms[0.0]


def test_a_last_batch_of_one_image_does_not_stop_batch_norm(data: Data) -> None:
    chosen = settings(batch_norm=True, batch_size=149)
    network = build_network(chosen)
    train_one_epoch(network, data, chosen)
    assert int(network.model.state_dict()["c1.norm.num_batches_tracked"]) == 1


def test_a_curve_keeps_every_digit(data: Data, tmp_path: Path) -> None:
    progress = train(settings(epochs=2), data, Checkpoint(tmp_path / "c.pt"), lambda _: None)
    table = pd.read_csv(io.BytesIO(curve_csv(progress.rows)))
    assert [Row(*row) for row in table.itertuples(index=False)] == progress.rows


def test_every_image_is_seen_once_an_epoch(data: Data) -> None:
    chosen = settings(batch_size=64, backend="torch")
    network = build_network(chosen)
    seen: list[torch.Tensor] = []
    network.model.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].clone()))
    train_one_epoch(network, data, chosen)
    assert [len(batch) for batch in seen] == [64, 64, 22]
    pixels = (torch.cat(seen) * 255).round().byte().flatten(1)
    assert {tuple(image.tolist()) for image in pixels} == {
        tuple(image.tolist()) for image in data.train.images.flatten(1)
    }
    assert not torch.equal(pixels, data.train.images.flatten(1))


def test_techniques_of_one_seed_start_from_equal_weights() -> None:
    plain, normalised = (build_network(settings(batch_norm=b)).model.state_dict() for b in (False, True))
    assert all(torch.equal(tensor, normalised[name]) for name, tensor in plain.items())
    assert not torch.equal(plain["c5.weight"], build_network(settings(seed=1)).model.state_dict()["c5.weight"])
