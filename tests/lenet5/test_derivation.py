"""Batch normalisation's gradients: the lines of the derivation are what they say, and the right ones are right."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lenet5.derivation import BatchNorm, Gradients, Line, batch_norm, derivation, gradients_by_autograd

SHAPES = [(2, 1), (3, 4), (8, 5), (64, 3)]
EPSILONS = [1e-5, 0.5]
PRINTED = ["d, as printed", "e, last line, as printed", "f, first line, as printed", "f, third line, as printed"]


def random_input(m: int, n: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return x (variance far from 1, mean far from 0), gamma, beta and dL/dy."""
    generator = torch.Generator().manual_seed(100 * m + n)
    rows = torch.randn(2 * m + 2, n, dtype=torch.float64, generator=generator)
    return 3 * rows[:m] + 2, rows[-2], rows[-1], rows[m : 2 * m]


def lines_and_gradients(m: int, n: int, epsilon: float) -> tuple[dict[str, Line], Gradients]:
    x, gamma, beta, d_y = random_input(m, n)
    lines = derivation(x, gamma, batch_norm(x, gamma, beta, epsilon), d_y, epsilon)
    return {line.name: line for line in lines}, gradients_by_autograd(x, gamma, beta, d_y, epsilon)


@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize(("m", "n"), SHAPES)
def test_the_forward_pass_equals_pytorchs_batch_norm(m: int, n: int, epsilon: float) -> None:
    x, gamma, beta, _ = random_input(m, n)
    reference = F.batch_norm(x, None, None, gamma, beta, training=True, eps=epsilon)
    torch.testing.assert_close(batch_norm(x, gamma, beta, epsilon).y, reference, rtol=1e-10, atol=1e-12)


def test_the_forward_pass_agrees_with_finite_differences() -> None:
    x, gamma, beta, _ = (tensor.requires_grad_() for tensor in random_input(4, 3))
    assert torch.autograd.gradcheck(lambda x, gamma, beta: batch_norm(x, gamma, beta, 1e-5).y, (x, gamma, beta))


@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize(("m", "n"), SHAPES)
def test_correct_lines_equal_autograd_and_printed_ones_do_not(m: int, n: int, epsilon: float) -> None:
    lines, autograd = lines_and_gradients(m, n, epsilon)
    assert [line.name for line in lines.values() if line.expected == "different"] == PRINTED
    for line in lines.values():
        reference = getattr(autograd, line.gradient)
        if line.expected == "equal":
            torch.testing.assert_close(line.value, reference, rtol=1e-9, atol=1e-12)
        else:
            assert (line.value - reference).abs().max() > 0.01 * reference.abs().max(), line.name


def test_each_line_is_the_equation_that_it_states() -> None:
    m, n, epsilon = 4, 2, 0.5
    x, gamma, _, d_y = random_input(m, n)
    lines, autograd = lines_and_gradients(m, n, epsilon)
    seen = set()
    for column in range(n):  # with plain numbers, sum by sum
        values, g, dy = x[:, column].tolist(), float(gamma[column]), d_y[:, column].tolist()
        mu = sum(values) / m
        s = sum((value - mu) ** 2 for value in values) / m + epsilon
        root = s**0.5
        x_hat = [(value - mu) / root for value in values]
        d_sigma2 = sum(-g * dy[j] * (values[j] - mu) / (2 * root**3) for j in range(m))
        d_mu = -g * sum(dy) / root
        d_x = autograd.x[:, column].tolist()
        direct, last = [g * dy[i] / root for i in range(m)], g * sum(dy) / (root * m)
        inner = sum(g * dy[j] * (values[j] - mu) / root**3 * 2 * (values[j] - mu) / m for j in range(m)) / 2
        outer = sum(g * dy[j] * (values[j] - mu) / root**3 for j in range(m)) / 2
        indirect = [d_sigma2 * 2 * (values[i] - mu) / m + d_mu / m for i in range(m)]
        products = sum(dy[j] * x_hat[j] for j in range(m))
        expected: dict[str, float | list[float]] = {
            "a": products,
            "b": sum(dy),
            "c": [dy[i] * g for i in range(m)],
            "d, as printed": sum(-g * dy[j] * (values[j] - mu) / (2 * s**2) for j in range(m)),
            "d, corrected": d_sigma2,
            "e, first line": d_mu,
            "e, last line, as printed": -sum(dy) / root,
            "e, last line, corrected": d_mu,
            "f, first line, as printed": [d_x[i] / root + indirect[i] for i in range(m)],
            "f, first line, corrected": [g * dy[i] / root + indirect[i] for i in range(m)],
            "f, third line, as printed": [direct[i] - inner - last for i in range(m)],
            "f, third line, corrected": [direct[i] - outer * 2 * (values[i] - mu) / m - last for i in range(m)],
            "f, closed form": [g / (root * m) * (m * dy[i] - sum(dy) - x_hat[i] * products) for i in range(m)],
        }
        assert list(lines) == list(expected)
        for name, value in expected.items():
            assert lines[name].value[..., column].tolist() == pytest.approx(value, rel=1e-9, abs=1e-12), name
            seen.add(name)
    assert seen == set(lines)


def test_the_closed_form_equals_pytorchs_gradient_on_image_maps() -> None:
    # One channel of N x C x H x W maps is one column of N * H * W values.
    generator = torch.Generator().manual_seed(1)
    maps, d_maps = torch.randn(2, 4, 3, 5, 6, dtype=torch.float64, generator=generator)
    _, gamma, beta, _ = random_input(2, 3)
    leaves = [tensor.clone().requires_grad_() for tensor in (gamma, beta, maps)]
    y = F.batch_norm(leaves[2], None, None, leaves[0], leaves[1], training=True, eps=1e-5)
    d_gamma, d_beta, d_x = torch.autograd.grad(y, leaves, d_maps)

    x, d_y, d_x = (tensor.movedim(1, -1).reshape(-1, 3) for tensor in (maps, d_maps, d_x))
    lines = {line.name: line.value for line in derivation(x, gamma, batch_norm(x, gamma, beta, 1e-5), d_y, 1e-5)}
    for name, reference in (("a", d_gamma), ("b", d_beta), ("f, closed form", d_x)):
        torch.testing.assert_close(lines[name], reference, rtol=1e-9, atol=1e-12)


def test_the_gradient_of_mu_includes_the_path_through_sigma2() -> None:
    # At the mean this path is zero whatever its formula, so mu is set to another value.
    x, gamma, beta, d_y = random_input(8, 5)
    mu = (x.mean(0) + 1).requires_grad_()
    sigma2 = ((x - mu) ** 2).mean(0)
    x_hat = (x - mu) / torch.sqrt(sigma2 + 1e-5)
    y = gamma * x_hat + beta
    (reference,) = torch.autograd.grad(y, mu, d_y)

    forward = BatchNorm(*(tensor.detach() for tensor in (mu, sigma2, x_hat, y)))
    lines = {line.name: line.value for line in derivation(x, gamma, forward, d_y, 1e-5)}
    torch.testing.assert_close(lines["e, first line"], reference, rtol=1e-9, atol=1e-12)
    without_this_path = lines["e, last line, corrected"]
    assert (without_this_path - reference).abs().max() > 0.01 * reference.abs().max()


def test_the_gradient_of_mu_through_sigma2_is_zero_at_the_mean() -> None:
    x, gamma, beta, _ = random_input(8, 5)
    mu, sigma2, _, _ = batch_norm(x.requires_grad_(), gamma, beta, 1e-5)
    (through_sigma2,) = torch.autograd.grad(sigma2.sum(), mu)  # raises if the graph had no such path
    torch.testing.assert_close(through_sigma2, torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-12)
