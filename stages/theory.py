"""Verify the theoretical part of the exercise with PyTorch: -> metrics/theory.json.

Each check compares an expected value with what PyTorch computes; the stage fails if one does not hold. The results are
counts, shapes and the words "equal" and "different", so that the file contains no rounding errors of one machine.
"""

from lenet5.support.process import Inputs, set_up

set_up()

from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lenet5.support.errors import UserError
from lenet5.support.files import write_json

RESULT = Path("metrics/theory.json")
SEED = 0
EPSILON = 1e-5
TOLERANCE = 1e-10  # float64 rounds at 1e-16; a wrong formula is wrong in its first digits


class Check(NamedTuple):
    """A statement, its expected value and its computed value."""

    statement: str
    expected: str
    computed: str

    @property
    def holds(self) -> bool:
        return self.expected == self.computed


class Section(NamedTuple):
    """One part of the exercise: its setting, as JSON values, and its checks."""

    setting: dict[str, Any]
    checks: list[Check]


def shapes_text(*tensors: Tensor) -> str:
    """Return shapes as the exercise writes them: "7 x 10, 10 x 50"."""
    return ", ".join(" x ".join(map(str, tensor.shape)) for tensor in tensors)


def compare(computed: Tensor, reference: Tensor) -> str:
    """Return "equal" if shapes agree and no difference exceeds TOLERANCE times the largest reference value.

    A reference of zeros, or one with infinity or NaN, equals nothing: agreement with it would prove nothing.
    """
    scale = reference.abs().max()
    comparable = computed.shape == reference.shape and 0 < scale < torch.inf
    return "equal" if comparable and (computed - reference).abs().max() <= TOLERANCE * scale else "different"


def hidden_layer_network(x: Tensor, w_h: Tensor, b_h: Tensor, w_o: Tensor, b_o: Tensor) -> Tensor:
    """Return Y = ReLU(ReLU(X W_h + b_h) W_o + b_o): m x inputs to m x outputs. A bias has one row or m rows."""
    return F.relu(F.relu(x @ w_h + b_h) @ w_o + b_o)


def network_section(m: int) -> Section:
    """Check a network of 10 inputs, 50 hidden units and 3 outputs on m random rows (float64) against torch's layers."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(SEED)
        hidden, output = nn.Linear(10, 50, dtype=torch.float64), nn.Linear(50, 3, dtype=torch.float64)
        x = torch.randn(m, 10, dtype=torch.float64)
    with torch.no_grad():
        # nn.Linear stores the transpose of the exercise's matrices.
        w_h, b_h, w_o, b_o = hidden.weight.T, hidden.bias[None], output.weight.T, output.bias[None]
        y = hidden_layer_network(x, w_h, b_h, w_o, b_o)
        y_of_layers = nn.Sequential(hidden, nn.ReLU(), output, nn.ReLU())(x)
        y_of_matrices = hidden_layer_network(x, w_h, b_h.repeat(m, 1), w_o, b_o.repeat(m, 1))

    shapes = f"{m} x 10, 10 x 50, 1 x 50, 50 x 3, 1 x 3, {m} x 3"
    checks = [
        Check(f"shapes of X, W_h, b_h, W_o, b_o, Y for m = {m}", shapes, shapes_text(x, w_h, b_h, w_o, b_o, y)),
        Check("Y by the formula and by torch's layers", "equal", compare(y, y_of_layers)),
        Check("Y with bias rows and with bias matrices of m equal rows", "equal", compare(y, y_of_matrices)),
    ]
    note = "b_h is one row, 1 x 50, that broadcasts over the m rows; the exercise writes it m x 50."
    return Section({"formula": "Y = ReLU(ReLU(X W_h + b_h) W_o + b_o)", "m": m, "note": note}, checks)


def convolution_section() -> Section:
    """Check outputs (height x width x maps) and parameters of three convolutions on an image of 200 x 300 x 3."""
    # Padding 1 gives a side of ceil(side / 2), like 'same', which torch does not support at stride 2.
    layers = [nn.Conv2d(*maps, kernel_size=3, stride=2, padding=1) for maps in ((3, 100), (100, 200), (200, 400))]
    outputs = [torch.zeros(3, 200, 300)]
    for layer in layers:
        outputs.append(layer(outputs[-1]))
    shapes = shapes_text(*(maps.permute(1, 2, 0) for maps in outputs[1:]))
    counts = [sum(parameter.numel() for parameter in layer.parameters()) for layer in layers]
    parameters = " + ".join(f"{count:,}" for count in counts) + f" = {sum(counts):,}"
    checks = [
        Check("outputs of the three convolutions", "100 x 150 x 100, 50 x 75 x 200, 25 x 38 x 400", shapes),
        Check("parameters of the three convolutions", "2,800 + 180,200 + 720,400 = 903,400", parameters),
    ]
    return Section({"input": "200 x 300 x 3", "kernel": "3 x 3", "stride": 2, "padding": 1}, checks)


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


def sigma2_gradient(d_x_hat: Tensor, deviation: Tensor, sigma2: Tensor, epsilon: float, exponent: float) -> Tensor:
    """Return line d of the exercise, of length n, from dL/dx-hat and x - mu. The correct exponent is -3/2."""
    return (d_x_hat * deviation).sum(0) * -0.5 * (sigma2 + epsilon) ** exponent


def gradients_by_hand(x: Tensor, gamma: Tensor, forward: BatchNorm, d_y: Tensor, epsilon: float) -> Gradients:
    """Return the gradients by the chain rule from d_y = dL/dy (m x n), as in Ioffe and Szegedy, section 3."""
    m, deviation, inverse_sigma = len(x), x - forward.mu, (forward.sigma2 + epsilon) ** -0.5
    d_gamma = (d_y * forward.x_hat).sum(0)
    d_beta = d_y.sum(0)
    d_x_hat = d_y * gamma
    d_sigma2 = sigma2_gradient(d_x_hat, deviation, forward.sigma2, epsilon, exponent=-1.5)
    # The second term, the path through sigma2, is zero since deviations from a mean sum to zero.
    d_mu = -(d_x_hat * inverse_sigma).sum(0) + d_sigma2 * (-2 * deviation).sum(0) / m
    d_x = d_x_hat * inverse_sigma + d_sigma2 * 2 * deviation / m + d_mu / m
    return Gradients(d_gamma, d_beta, d_x_hat, d_sigma2, d_mu, d_x)


def gradients_by_autograd(x: Tensor, gamma: Tensor, beta: Tensor, d_y: Tensor, epsilon: float) -> Gradients:
    """Return the same gradients from autograd, for the loss (d_y * y).sum(), for which dL/dy = d_y."""
    x, gamma, beta = (tensor.detach().requires_grad_() for tensor in (x, gamma, beta))
    mu, sigma2, x_hat, y = batch_norm(x, gamma, beta, epsilon)
    return Gradients(*torch.autograd.grad((d_y * y).sum(), (gamma, beta, x_hat, sigma2, mu, x)))


def batch_norm_section(m: int, n: int) -> Section:
    """Check each gradient by hand against autograd on random float64 input (m x n), and line d with wrong exponents."""
    generator = torch.Generator().manual_seed(SEED)
    rows = torch.randn(2 * m + 2, n, dtype=torch.float64, generator=generator)
    # Tripled: with a variance near 1, any exponent would look nearly right.
    x, d_y, gamma, beta = 3 * rows[:m], rows[m : 2 * m], rows[-2], rows[-1]
    forward = batch_norm(x, gamma, beta, EPSILON)
    hand = gradients_by_hand(x, gamma, forward, d_y, EPSILON)
    autograd = gradients_by_autograd(x, gamma, beta, d_y, EPSILON)

    y_of_torch = F.batch_norm(x, None, None, gamma, beta, training=True, eps=EPSILON)
    checks = [Check("batch normalisation by the formula and by torch", "equal", compare(forward.y, y_of_torch))]
    for name, ours, reference in zip(("gamma", "beta", "x-hat", "sigma^2", "mu", "x"), hand, autograd, strict=True):
        checks.append(Check(f"dL/d{name} by hand and by autograd", "equal", compare(ours, reference)))
    for exponent in (-0.5, 0.5, 1.5):
        wrong = sigma2_gradient(hand.x_hat, x - forward.mu, forward.sigma2, EPSILON, exponent)
        statement = f"dL/dsigma^2 with exponent {exponent} in place of -1.5, and by autograd"
        checks.append(Check(statement, "different", compare(wrong, autograd.sigma2)))
    formula = "dL/dsigma^2 = sum_i dL/dx-hat_i (x_i - mu) (-1/2) (sigma^2 + epsilon)^(-3/2)"
    note = "Line d of the exercise has a wrong exponent: it is -3/2 (3/2 in the denominator), with the factor -1/2."
    setting = {"input": f"{m} x {n}", "epsilon": EPSILON, "tolerance": TOLERANCE, "formula": formula, "note": note}
    return Section(setting, checks)


def report(**sections: Section) -> dict[str, Any]:
    """Return the content of the JSON file. Raises UserError with one line for each check that does not hold."""
    checks = [check for section in sections.values() for check in section.checks]
    if failed := [check for check in checks if not check.holds]:
        raise UserError("\n".join(f"{c.statement}: expected {c.expected}, but computed {c.computed}." for c in failed))
    return {
        "checks": [check._asdict() | {"holds": check.holds} for check in checks],
        "sections": {name: section.setting for name, section in sections.items()},
    }


def main() -> None:
    inputs = Inputs(lambda: None)
    content = report(network=network_section(7), cnn=convolution_section(), batch_norm=batch_norm_section(8, 5))
    inputs.require_unchanged()
    write_json(RESULT, content)
    print(f"theory: {len(content['checks'])} checks hold")


if __name__ == "__main__":
    main()
