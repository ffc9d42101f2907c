"""The training loop, from settings and tensors to the rows of a curve and the weights of the best epoch."""

import csv
import hashlib
import io
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.checkpoint import Checkpoint
from stages.cuda import CapturedStep
from stages.dataset import Split
from stages.errors import DivergenceError
from stages.inference import Network, logits_of, loss_and_accuracy, network_of
from stages.model import LeNet5
from stages.params import TrainSettings

DIVERGED = 1e6  # nats, where guessing costs 2.3; a learning rate of 1e6 leads to 1e35 and not to infinity


class Data(NamedTuple):
    train: Split
    validation: Split
    test: Split


class Row(NamedTuple):
    """One epoch: mean cross-entropy in nats and accuracies as fractions, all in evaluation mode after the epoch."""

    epoch: int
    train_loss: float
    validation_loss: float
    test_loss: float
    train_accuracy: float
    validation_accuracy: float
    test_accuracy: float


@dataclass
class Progress:
    """A training so far: its rows, and the weights of its best epoch, that of lowest validation loss (the earliest of
    equals)."""

    rows: list[Row] = field(default_factory=list)
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    resumed_from: int = 0  # the epochs that an earlier, killed process did

    @property
    def best(self) -> Row:
        return min(self.rows, key=lambda row: row.validation_loss)


def derived_seed(seed: int, purpose: str, epoch: int = 0) -> int:
    """A 63-bit seed for one purpose in one epoch. Randomness that is derived and not carried along needs no restoring
    when a training resumes."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}/{epoch}".encode()).digest()[:8], "big") >> 1


def build_network(settings: TrainSettings) -> Network:
    """The freshly initialised network; techniques with equal seeds start from equal weights, on either backend."""
    torch.manual_seed(derived_seed(settings.seed, "initialisation"))
    model = LeNet5(batch_norm=settings.batch_norm, dropout=settings.dropout)
    return network_of(model.to(settings.device), settings.backend)


def build_optimizer(parameters: list[nn.Parameter], settings: TrainSettings) -> torch.optim.Optimizer:
    common: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay, "fused": True}
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=settings.momentum, **common)
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(parameters, capturable=settings.device == "cuda", **common)
    return torch.optim.Adam(parameters, capturable=settings.device == "cuda", **common)


@torch.no_grad()
def step_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """`optimizer.step()`, with the same state and to the same bit. Adam and AdamW on a CPU go straight to PyTorch's own
    kernel, since the Python around it takes as long again; their first step, which makes the state, does not."""
    (group,) = optimizer.param_groups
    if not isinstance(optimizer, torch.optim.Adam) or group["capturable"] or not optimizer.state:
        optimizer.step()
        return
    states = [optimizer.state[parameter] for parameter in group["params"]]
    averages, squares, steps = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step"))
    torch._foreach_add_(steps, 1)
    kernel = torch._fused_adamw_ if isinstance(optimizer, torch.optim.AdamW) else torch._fused_adam_
    kernel(
        group["params"],
        [parameter.grad for parameter in group["params"]],
        averages,
        squares,
        [],
        steps,
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        **{name: group[name] for name in ("lr", "weight_decay", "eps", "amsgrad", "maximize")},
    )


def scheduled_learning_rate(settings: TrainSettings, epoch: int) -> float:
    """The learning rate of an epoch, counted from 1. Cosine: Loshchilov and Hutter, SGDR, 2017, eq. 5, without
    restarts, a step an epoch, from the full rate down to near zero."""
    if settings.schedule == "cosine":
        return settings.learning_rate * (1 + math.cos(math.pi * (epoch - 1) / settings.epochs)) / 2
    return settings.learning_rate


def training_step(
    network: Network, optimizer: torch.optim.Optimizer, split: Split, settings: TrainSettings
) -> Callable[[Tensor], None]:
    """A step on the images of a batch of indices, int64 B. On a GPU it is captured, with the learning rate in it."""

    def step(batch: Tensor) -> None:
        for parameter in network.parameters:
            parameter.grad = None  # what optimizer.zero_grad does, with bookkeeping that takes 2 % of a step
        labels = split.labels.index_select(0, batch)
        loss = F.cross_entropy(network(split.images, batch), labels, label_smoothing=settings.label_smoothing)
        loss.backward()
        step_optimizer(optimizer)

    return CapturedStep(step, settings.batch_size) if settings.device == "cuda" else step


def train_epoch(
    network: Network, step: Callable[[Tensor], None], count: int, settings: TrainSettings, epoch: int
) -> None:
    """One pass over `count` training images in an order of the epoch's own; the last batch may be smaller."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(derived_seed(settings.seed, "order", epoch)))
    torch.manual_seed(derived_seed(settings.seed, "dropout", epoch))
    network.model.train()
    for batch in order.to(settings.device).split(settings.batch_size):
        if settings.batch_norm and len(batch) == 1:
            continue  # one image has no variance to normalise by
        step(batch)


def measure(network: Network, data: Data, epoch: int) -> Row:
    scores = [loss_and_accuracy(logits_of(network, split.images), split.labels) for split in data]
    losses, accuracies = zip(*scores, strict=True)
    return Row(epoch, *losses, *accuracies)


def weights_of(model: LeNet5) -> dict[str, Tensor]:
    """A copy of the state dict, in the CPU's memory."""
    return {name: tensor.to("cpu", copy=True) for name, tensor in model.state_dict().items()}


def train(
    settings: TrainSettings, data: Data, checkpoint: Checkpoint, after_epoch: Callable[[Progress], None]
) -> Progress:
    """Train from the checkpoint, or from the start where there is none; `after_epoch` is called as each epoch ends, and
    once at the start when resuming.

    Raises DivergenceError when a loss is beyond `DIVERGED` or no number at all.
    """
    network = build_network(settings)
    model = network.model
    data = Data(*(split.to(settings.device) for split in data))
    optimizer = build_optimizer(network.parameters, settings)
    progress = Progress()
    if (saved := checkpoint.load()) is not None:
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
            step = training_step(network, optimizer, data.train, settings)
        train_epoch(network, step, len(data.train.labels), settings, epoch)
        row = measure(network, data, epoch)
        total = row.train_loss + row.validation_loss + row.test_loss
        if not total < DIVERGED:  # so written, it holds for NaN too
            raise DivergenceError(
                f"the loss became {total:.3g} in epoch {epoch}: the training diverged and no model is kept. "
                f"Lower its learning_rate (now {settings.learning_rate}) in params.yaml."
            )
        progress.rows.append(row)
        if progress.best is row:
            progress.best_weights = weights_of(model)
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


def curve_csv(rows: list[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row._fields)
    writer.writerows(rows)
    return text.getvalue().encode()
