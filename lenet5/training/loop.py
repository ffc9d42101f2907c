"""The training loop: from settings and data to one row of metrics per epoch and the weights of the best epoch."""

import csv
import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lenet5.data.dataset import Data, Split
from lenet5.network.inference import Network, logits_of, loss_and_accuracy, network_of
from lenet5.network.model import LeNet5
from lenet5.support.errors import DivergenceError
from lenet5.support.params import TrainSettings
from lenet5.training.augmentation import augment
from lenet5.training.checkpoint import Checkpoint
from lenet5.training.cuda import CapturedStep, require_gpu
from lenet5.training.optimizer import build_optimizer, scheduled_learning_rate, step_optimizer

DIVERGED = 1e6  # nats; guessing costs 2.3. Not infinity: a learning rate of 1e6 leads to losses of 1e35


class Row(NamedTuple):
    """One epoch: mean cross-entropy in nats and accuracies as fractions, in evaluation mode at the end of the epoch."""

    epoch: int
    train_loss: float
    validation_loss: float
    test_loss: float
    train_accuracy: float
    validation_accuracy: float
    test_accuracy: float


@dataclass
class Progress:
    """A run so far: one row per epoch, and the weights of the best one."""

    rows: list[Row] = field(default_factory=list)
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    resumed_from: int = 0  # the epochs that an earlier process completed

    @property
    def best(self) -> Row:
        """The epoch of lowest validation loss; the first one if several are equal."""
        return min(self.rows, key=lambda row: row.validation_loss)


def train(
    settings: TrainSettings,
    data: Data,
    checkpoint: Checkpoint | None = None,
    after_epoch: Callable[[Progress], object] = lambda progress: None,
) -> Progress:
    """Train LeNet-5 and return all epochs with the weights of the best one.

        settings = load_params().settings("dropout")
        progress = train(settings, load_data())
        progress.best.test_accuracy, progress.best_weights

    With a checkpoint, resume from the last epoch that it holds, and save each epoch to it (see
    lenet5.training.checkpoint.exclusive). `after_epoch` is called at the end of each epoch, and once when training
    resumes. For the same bytes as the pipeline, call set_up and set_up_torch of lenet5.support.process first.

    Raises DivergenceError if the losses of an epoch exceed `DIVERGED` in sum, or are NaN, and UserError if the settings
    need a GPU that is missing.
    """
    if settings.device == "cuda":
        require_gpu()
    network = build_network(settings)
    model = network.model
    data = Data(*(split.to(settings.device) for split in data))
    drawn = data.train if settings.augmentation == "none" else data.train._replace(images=data.train.images.clone())
    optimizer = build_optimizer(network.parameters, settings)
    progress = Progress()
    if checkpoint and (saved := checkpoint.load()) is not None:
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        rows = [Row(*row) for row in saved["rows"]]
        progress = Progress(rows, saved["best_weights"], resumed_from=len(rows))
        after_epoch(progress)
    (group,) = optimizer.param_groups
    step: Callable[[Tensor], None] | None = None
    for epoch in range(len(progress.rows) + 1, settings.epochs + 1):
        learning_rate = scheduled_learning_rate(settings, epoch)
        if step is None or learning_rate != group["lr"]:
            group["lr"] = learning_rate
            step = training_step(network, optimizer, drawn, settings)
        if drawn is not data.train:
            augment(data.train.images, settings.augmentation, generator(settings, "augmentation", epoch), drawn.images)
        train_epoch(network, step, len(data.train.labels), settings, epoch)
        row = measure(network, data, epoch)
        check_convergence(row)
        progress.rows.append(row)
        if progress.best is row:
            progress.best_weights = weights_of(model)
        if checkpoint:
            checkpoint.save(
                {
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "rows": [tuple(row) for row in progress.rows],
                    "best_weights": progress.best_weights,
                }
            )
        after_epoch(progress)
    return progress


def derived_seed(seed: int, purpose: str, epoch: int = 0) -> int:
    """Return a 63-bit seed for one purpose in one epoch.

    Deriving randomness, instead of carrying a generator's state along, means that resuming has nothing to restore.
    """
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}/{epoch}".encode()).digest()[:8], "big") >> 1


def generator(settings: TrainSettings, purpose: str, epoch: int) -> torch.Generator:
    """Return a generator of random numbers for one purpose in one epoch, on the CPU."""
    return torch.Generator().manual_seed(derived_seed(settings.seed, purpose, epoch))


def build_network(settings: TrainSettings) -> Network:
    """Return the network with its initial weights, which depend on the seed alone, not on technique or backend."""
    torch.manual_seed(derived_seed(settings.seed, "initialisation"))
    model = LeNet5(batch_norm=settings.batch_norm, dropout=settings.dropout)
    return network_of(model.to(settings.device), settings.backend)


def training_step(
    network: Network, optimizer: torch.optim.Optimizer, split: Split, settings: TrainSettings
) -> Callable[[Tensor], None]:
    """Return a function that trains on one batch, given the indices of its images (int64 B).

    On a GPU the step is captured with the current learning rate.
    """

    def step(batch: Tensor) -> None:
        for parameter in network.parameters:
            parameter.grad = None  # as optimizer.zero_grad does, whose bookkeeping takes 2 % of a step
        labels = split.labels.index_select(0, batch)
        loss = F.cross_entropy(network(split.images, batch), labels, label_smoothing=settings.label_smoothing)
        loss.backward()
        step_optimizer(optimizer)

    return CapturedStep(step, settings.batch_size) if settings.device == "cuda" else step


def train_epoch(
    network: Network, step: Callable[[Tensor], None], count: int, settings: TrainSettings, epoch: int
) -> None:
    """Train once on each of `count` images, in an order drawn for this epoch. The last batch may be smaller."""
    order = torch.randperm(count, generator=generator(settings, "order", epoch))
    torch.manual_seed(derived_seed(settings.seed, "dropout", epoch))
    network.model.train()
    for batch in order.to(settings.device).split(settings.batch_size):
        if settings.batch_norm and len(batch) == 1:
            continue  # the variance of a single image is undefined
        step(batch)


def measure(network: Network, data: Data, epoch: int) -> Row:
    """Return losses and accuracies on all three splits, in evaluation mode."""
    scores = [loss_and_accuracy(logits_of(network, split.images), split.labels) for split in data]
    losses, accuracies = zip(*scores, strict=True)
    return Row(epoch, *losses, *accuracies)


def check_convergence(row: Row) -> None:
    """Raise DivergenceError if the losses of an epoch exceed `DIVERGED` in sum, or are NaN."""
    total = row.train_loss + row.validation_loss + row.test_loss
    if not total < DIVERGED:  # true for NaN too
        raise DivergenceError(
            f"the sum of the losses became {total:.3g} in epoch {row.epoch}: the run diverged and no model is kept."
        )


def weights_of(model: LeNet5) -> dict[str, Tensor]:
    """Return a copy of the state dict in the CPU's memory."""
    return {name: tensor.to("cpu", copy=True) for name, tensor in model.state_dict().items()}


def curve_csv(rows: list[Row]) -> bytes:
    """Return the rows as CSV, with a header and every digit."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row._fields)
    writer.writerows(rows)
    return text.getvalue().encode()
