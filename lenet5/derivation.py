"""The gradients of batch normalisation: by autograd, and line by line as the exercise derives them.

docs/theory.md states which lines are known as printed, and what in them is inferred.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class BatchNorm(NamedTuple):
    """The forward pass of batch normalisation: mu and sigma2 have length n, x_hat and y are m x n."""

    mu: Tensor
    sigma2: Tensor
    x_hat: Tensor
    y: Tensor


class Gradients(NamedTuple):
    """The derivatives of a loss, each of the shape of its variable: gamma and beta have length n, x is m x n."""

    gamma: Tensor
    beta: Tensor
    x_hat: Tensor
    sigma2: Tensor
    mu: Tensor
    x: Tensor


def batch_norm(x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float) -> BatchNorm:
    """Return algorithm 1 of Ioffe and Szegedy, ICML 2015 (arXiv:1502.03167), on x (m x n); gamma and beta: length n."""
    mu = x.mean(0)
    # Not x.var: sigma2 depends on mu too, and autograd must see that path.
    sigma2 = ((x - mu) ** 2).mean(0)
    x_hat = (x - mu) / torch.sqrt(sigma2 + epsilon)
    return BatchNorm(mu, sigma2, x_hat, gamma * x_hat + beta)


def gradients_by_autograd(x: Tensor, gamma: Tensor, beta: Tensor, d_y: Tensor, epsilon: float) -> Gradients:
    """Return the gradients by autograd, for the loss (d_y * y).sum(), for which dL/dy = d_y."""
    x, gamma, beta = (tensor.detach().requires_grad_() for tensor in (x, gamma, beta))
    mu, sigma2, x_hat, y = batch_norm(x, gamma, beta, epsilon)
    return Gradients(*torch.autograd.grad((d_y * y).sum(), (gamma, beta, x_hat, sigma2, mu, x)))


class Line(NamedTuple):
    """A line of the derivation: the gradient on its left side, and the value of its right side."""

    name: str
    gradient: str  # a field of Gradients
    equation: str
    value: Tensor
    expected: str = "equal"


def derivation(x: Tensor, gamma: Tensor, forward: BatchNorm, d_y: Tensor, epsilon: float) -> list[Line]:
    """Return lines a to f of the exercise, from d_y = dL/dy (m x n): a wrong one as printed, and then corrected.

    The correct ones are the chain rule of Ioffe and Szegedy, section 3, with s for sigma^2 + epsilon.
    """
    m, deviation, s = len(x), x - forward.mu, forward.sigma2 + epsilon
    d_gamma, d_beta, d_x_hat = (d_y * forward.x_hat).sum(0), d_y.sum(0), d_y * gamma
    d_sigma2 = (d_x_hat * deviation).sum(0) * -0.5 * s**-1.5
    # The second term, the path through sigma2, is zero since deviations from a mean sum to zero.
    d_mu = -(d_x_hat * s**-0.5).sum(0) + d_sigma2 * (-2 * deviation).sum(0) / m
    d_x = d_x_hat * s**-0.5 + d_sigma2 * 2 * deviation / m + d_mu / m
    # The terms of f's third line. The second one is summed in different places, as printed and corrected.
    direct, through_mu = d_x_hat * s**-0.5, gamma * s**-0.5 / m * d_beta
    through_sigma2 = d_x_hat * deviation * s**-1.5 / 2
    closed = gamma * s**-0.5 / m * (m * d_y - d_beta - forward.x_hat * d_gamma)
    return [
        Line("a", "gamma", "dL/dgamma = sum_i dL/dy_i x-hat_i", d_gamma),
        Line("b", "beta", "dL/dbeta = sum_i dL/dy_i", d_beta),
        Line("c", "x_hat", "dL/dx-hat_i = dL/dy_i gamma", d_x_hat),
        Line(
            "d, as printed",
            "sigma2",
            "dL/dsigma^2 = sum_i dL/dx-hat_i (x_i - mu) (-1/2) s^(-2)",
            (d_x_hat * deviation).sum(0) * -0.5 * s**-2,
            "different",
        ),
        Line("d, corrected", "sigma2", "dL/dsigma^2 = sum_i dL/dx-hat_i (x_i - mu) (-1/2) s^(-3/2)", d_sigma2),
        Line("e, first line", "mu", "dL/dmu = -sum_i dL/dx-hat_i s^(-1/2) + dL/dsigma^2 sum_i -2 (x_i - mu) / m", d_mu),
        Line("e, last line, as printed", "mu", "dL/dmu = -s^(-1/2) sum_i dL/dy_i", -(s**-0.5) * d_beta, "different"),
        Line("e, last line, corrected", "mu", "dL/dmu = -gamma s^(-1/2) sum_i dL/dy_i", -gamma * s**-0.5 * d_beta),
        Line(
            "f, first line, as printed",
            "x",
            "dL/dx_i = dL/dx_i s^(-1/2) + dL/dsigma^2 2 (x_i - mu) / m + dL/dmu / m",
            d_x * s**-0.5 + d_sigma2 * 2 * deviation / m + d_mu / m,
            "different",
        ),
        Line(
            "f, first line, corrected",
            "x",
            "dL/dx_i = dL/dx-hat_i s^(-1/2) + dL/dsigma^2 2 (x_i - mu) / m + dL/dmu / m",
            d_x,
        ),
        Line(
            "f, third line, as printed",
            "x",
            "dL/dx_i = gamma dL/dy_i s^(-1/2) - 1/2 sum_j gamma dL/dy_j (x_j - mu) s^(-3/2) 2 (x_j - mu) / m"
            " - gamma s^(-1/2) / m sum_j dL/dy_j",
            direct - (through_sigma2 * 2 * deviation / m).sum(0) - through_mu,
            "different",
        ),
        Line(
            "f, third line, corrected",
            "x",
            "dL/dx_i = gamma dL/dy_i s^(-1/2) - 1/2 (sum_j gamma dL/dy_j (x_j - mu) s^(-3/2)) 2 (x_i - mu) / m"
            " - gamma s^(-1/2) / m sum_j dL/dy_j",
            direct - through_sigma2.sum(0) * 2 * deviation / m - through_mu,
        ),
        Line(
            "f, closed form",
            "x",
            "dL/dx_i = gamma s^(-1/2) / m (m dL/dy_i - sum_j dL/dy_j - x-hat_i sum_j dL/dy_j x-hat_j)",
            closed,
        ),
    ]
