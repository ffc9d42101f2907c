"""The optimizer and the learning rate. The only module that calls private functions of torch."""

import inspect
import math
from typing import Any

import torch
from torch import nn

from lenet5.support.params import TrainSettings


def build_optimizer(parameters: list[nn.Parameter], settings: TrainSettings) -> torch.optim.Optimizer:
    """Return PyTorch's optimizer for these settings, with fused kernels."""
    _leave_compiler_unloaded()
    common: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay, "fused": True}
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=settings.momentum, **common)
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(parameters, capturable=settings.device == "cuda", **common)
    return torch.optim.Adam(parameters, capturable=settings.device == "cuda", **common)


def _leave_compiler_unloaded() -> None:
    """Keep PyTorch's optimizers from loading its compiler, which takes a second and 80 MB of memory: these methods load
    it only to exclude themselves from compilation."""
    for name in ("add_param_group", "load_state_dict", "state_dict", "zero_grad"):
        method = inspect.unwrap(getattr(torch.optim.Optimizer, name))
        method.__dynamo_disable = method


@torch.no_grad()
def step_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """Do what `optimizer.step()` does, with the same state and the same bits.

    For Adam and AdamW on a CPU it calls PyTorch's kernel directly, because the Python around it takes as long as the
    kernel itself. The first step, which creates the state, and any other optimizer's are `optimizer.step()` without the
    functions around it, which load the compiler.
    """
    (group,) = optimizer.param_groups
    if not isinstance(optimizer, torch.optim.Adam) or group["capturable"] or not optimizer.state:
        inspect.unwrap(type(optimizer).step)(optimizer)
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
    """Return the learning rate of an epoch, counted from 1.

    Cosine: Loshchilov and Hutter, SGDR, ICLR 2017, eq. 5, without restarts; one step per epoch, from the full rate to
    nearly zero.
    """
    if settings.schedule == "cosine":
        return settings.learning_rate * (1 + math.cos(math.pi * (epoch - 1) / settings.epochs)) / 2
    return settings.learning_rate
