"""The training loop on a small data set."""

import io
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch

from lenet5 import Data, LeNet5, TrainSettings, train
from lenet5.network.inference import Network
from lenet5.support.errors import UserError
from lenet5.training import loop
from lenet5.training.checkpoint import Checkpoint
from lenet5.training.loop import (
    Progress,
    Row,
    build_network,
    curve_csv,
    derived_seed,
    measure,
    train_epoch,
    training_step,
)
from lenet5.training.optimizer import build_optimizer
from tests.lenet5.training.small_run import settings


class StoppedError(Exception):
    """Stands for whatever ends a run early."""


def stop_after(epoch: int, progress: Progress) -> None:
    if progress.rows[-1].epoch == epoch:
        raise StoppedError


TECHNIQUES: list[dict[str, object]] = [
    {},
    {"batch_norm": True},
    {"dropout": 0.2},
    {"weight_decay": 0.001},
    {"optimizer": "sgd"},
    {"augmentation": "flip_shift_erase"},
    {"augmentation": "shift", "schedule": "cosine", "batch_norm": True},
]
TECHNIQUES += [{"backend": "torch", "batch_norm": True, "dropout": 0.2}]


@pytest.mark.parametrize("overrides", TECHNIQUES)
def test_a_stopped_and_resumed_run_equals_an_uninterrupted_one(
    overrides: dict[str, object], data: Data, tmp_path: Path
) -> None:
    whole = train(settings(**overrides), data, Checkpoint(tmp_path / "whole.pt"))
    checkpoint = Checkpoint(tmp_path / "stopped.pt")
    for epoch in (1, 3):
        with pytest.raises(StoppedError):
            train(settings(**overrides), data, checkpoint, partial(stop_after, epoch))
    resumed = train(settings(**overrides), data, checkpoint)
    assert resumed.resumed_from == 3
    assert resumed.rows == whole.rows
    assert all(torch.equal(resumed.best_weights[name], tensor) for name, tensor in whole.best_weights.items())


def test_every_setting_changes_what_is_trained(data: Data) -> None:
    effects: dict[str, tuple[dict[str, object], dict[str, object]]] = {
        "seed": ({}, {"seed": 1}),
        "epochs": ({}, {"epochs": 3}),
        "batch_size": ({}, {"batch_size": 7}),
        "optimizer": ({"weight_decay": 0.01}, {"weight_decay": 0.01, "optimizer": "adamw"}),
        "learning_rate": ({}, {"learning_rate": 0.02}),
        "schedule": ({}, {"schedule": "cosine"}),
        "augmentation": ({}, {"augmentation": "shift"}),
        "momentum": ({"optimizer": "sgd"}, {"optimizer": "sgd", "momentum": 0.5}),
        "weight_decay": ({"optimizer": "adamw"}, {"optimizer": "adamw", "weight_decay": 0.01}),
        "batch_norm": ({}, {"batch_norm": True}),
        "dropout": ({}, {"dropout": 0.2}),
        "label_smoothing": ({}, {"label_smoothing": 0.1}),
    }
    assert effects.keys() == TrainSettings.model_fields.keys() - {"backend", "device"}  # these need not change a bit
    for name, pair in effects.items():
        before, after = (train(settings(**overrides), data).rows for overrides in pair)
        assert before != after, name


def test_the_weights_with_the_lowest_validation_loss_are_kept(data: Data) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    chosen = settings(epochs=8, learning_rate=0.05)
    progress = train(chosen, data, after_epoch=lambda progress: seen.append(progress.best_weights))
    losses = [row.validation_loss for row in progress.rows]
    best = losses.index(min(losses))
    assert progress.best.epoch == best + 1
    assert seen[-1] is seen[best]
    assert best == 0 or seen[best] is not seen[best - 1]


def test_among_equal_validation_losses_the_first_epoch_is_kept() -> None:
    rows = [Row(epoch, 1, loss, 1, 0, 0, 0) for epoch, loss in ((1, 0.7), (2, 0.5), (3, 0.5))]
    assert Progress(rows).best.epoch == 2


def test_derived_seeds_are_fixed_and_differ_by_purpose_and_epoch() -> None:
    seeds = {derived_seed(*key) for key in [(0, "order", 1), (0, "order", 2), (0, "dropout", 1), (1, "order", 1)]}
    assert len(seeds) == 4
    # A constant, since a change here would silently change every result.
    assert derived_seed(0, "order", 1) == 4489457307835839548


def train_one_epoch(network: Network, data: Data, chosen: TrainSettings) -> None:
    step = training_step(network, build_optimizer(network.parameters, chosen), data.train, chosen)
    train_epoch(network, step, len(data.train.labels), chosen, epoch=1)


def test_batch_norm_skips_a_last_batch_of_one_image(data: Data) -> None:
    chosen = settings(batch_norm=True, batch_size=149)
    network = build_network(chosen)
    train_one_epoch(network, data, chosen)
    assert int(network.model.state_dict()["c1.norm.num_batches_tracked"]) == 1


def test_a_curve_keeps_every_digit(data: Data) -> None:
    progress = train(settings(epochs=2), data)
    table = pd.read_csv(io.BytesIO(curve_csv(progress.rows)))
    assert [Row(*row) for row in table.itertuples(index=False)] == progress.rows


def test_each_epoch_trains_on_every_image_once_in_random_order(data: Data) -> None:
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


def test_augmentation_is_drawn_anew_for_each_epoch(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[bool, list[torch.Tensor]] = {True: [], False: []}
    original = data.train.images.clone()

    def watched(chosen: TrainSettings) -> Network:
        network = build_network(chosen)
        network.model.register_forward_pre_hook(lambda model, inputs: seen[model.training].append(inputs[0].clone()))
        return network

    monkeypatch.setattr(loop, "build_network", watched)
    train(settings(epochs=2, augmentation="shift", backend="torch", batch_size=150), data)
    first, second = ((pixels * 255).round().byte() for pixels in seen[True])
    assert first.sum() == second.sum() == original.sum()  # nothing is lost
    images = [{tuple(image.flatten().tolist()) for image in epoch} for epoch in (first, second, original)]
    # A ninth of the 150 images is moved alike by chance.
    assert all(len(a & b) < 40 for a, b in ((images[0], images[1]), (images[0], images[2])))
    # The metrics are those of the images themselves, which stay as they were.
    assert torch.equal((seen[False][0] * 255).round().byte(), original)
    assert torch.equal(data.train.images, original)


def test_techniques_with_one_seed_have_equal_initial_weights() -> None:
    plain, normalised = (build_network(settings(batch_norm=b)).model.state_dict() for b in (False, True))
    assert all(torch.equal(tensor, normalised[name]) for name, tensor in plain.items())
    assert not torch.equal(plain["c5.weight"], build_network(settings(seed=1)).model.state_dict()["c5.weight"])


def test_two_arguments_are_enough_to_train(data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = settings(epochs=2)
    progress = train(chosen, data)
    assert [row.epoch for row in progress.rows] == [1, 2]
    assert list(tmp_path.iterdir()) == []
    network = build_network(chosen)
    assert isinstance(network.model, LeNet5)
    network.model.load_state_dict(progress.best_weights)
    assert measure(network, data, progress.best.epoch) == progress.best


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_reported(data: Data) -> None:
    with pytest.raises(UserError, match=r"^train\.device is cuda, but PyTorch .* finds no GPU\. Set `device: cpu`"):
        train(settings(device="cuda", backend="torch"), data)
