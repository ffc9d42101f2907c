"""The document's theory: the checks hold, and each of them would fail on a wrong formula."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lenet5.support.errors import UserError
from stages import theory
from stages.theory import BatchNorm, Check, Gradients, Section

SHAPES = [(2, 1), (3, 4), (8, 5), (64, 3)]
EPSILONS = [1e-5, 0.5]


def random_input(m: int, n: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x (variance far from 1, mean far from 0), gamma, beta and dL/dy."""
    generator = torch.Generator().manual_seed(100 * m + n)
    rows = torch.randn(2 * m + 2, n, dtype=torch.float64, generator=generator)
    return 3 * rows[:m] + 2, rows[-2], rows[-1], rows[m : 2 * m]


def both_gradients(m: int, n: int, epsilon: float) -> tuple[Gradients, Gradients]:
    x, gamma, beta, d_y = random_input(m, n)
    forward = theory.batch_norm(x, gamma, beta, epsilon)
    hand = theory.gradients_by_hand(x, gamma, forward, d_y, epsilon)
    return hand, theory.gradients_by_autograd(x, gamma, beta, d_y, epsilon)


def run_stage(folder: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    folder.mkdir()
    monkeypatch.chdir(folder)
    theory.main()
    return theory.RESULT.read_bytes()


# The comparison that every verdict rests on


def test_compare_forgives_rounding_and_nothing_larger() -> None:
    reference = torch.tensor([1e-3, 1.0, -1000.0], dtype=torch.float64)
    assert theory.compare(reference * (1 + 1e-15), reference) == "equal"
    assert theory.compare(reference * (1 + 1e-9), reference) == "different"


@pytest.mark.parametrize(
    ("computed", "reference"),
    [
        (torch.zeros(3), torch.zeros(3)),
        (torch.full((3,), torch.nan), torch.ones(3)),
        (torch.ones(3), torch.full((3,), torch.nan)),
        (torch.ones(3), torch.tensor([1.0, 1.0, torch.inf])),
        (torch.ones(1), torch.ones(3)),
    ],
    ids=["zeros", "nan", "nan reference", "infinite reference", "shape that would broadcast"],
)
def test_compare_calls_nothing_equal_that_shows_nothing(computed: Tensor, reference: Tensor) -> None:
    assert theory.compare(computed, reference) == "different"


# (a) One hidden layer


@pytest.mark.parametrize("m", [2, 7, 50])
def test_shapes_and_formula_of_the_network_hold_whatever_the_number_of_rows(m: int) -> None:
    section = theory.network_section(m)
    assert [check for check in section.checks if not check.holds] == []
    assert section.checks[0].computed == f"{m} x 10, 10 x 50, 1 x 50, 50 x 3, 1 x 3, {m} x 3"


def test_network_formula_gives_the_numbers_worked_out_on_paper() -> None:
    x = torch.tensor([[1.0, 2.0], [-1.0, 1.0]])
    w_h, b_h = torch.tensor([[1.0, -1.0], [1.0, 2.0]]), torch.tensor([[-1.0, 0.5]])
    w_o, b_o = torch.tensor([[1.0], [-1.0]]), torch.tensor([[4.0]])
    # Hidden: [1 + 2 - 1, -1 + 4 + 0.5] and [-1 + 1 - 1 -> 0, 1 + 2 + 0.5]. Output: 2 - 3.5 + 4 and 0 - 3.5 + 4.
    assert theory.hidden_layer_network(x, w_h, b_h, w_o, b_o).tolist() == [[2.5], [0.5]]
    # The outer ReLU: with a bias of 1 both sums are negative or zero.
    assert theory.hidden_layer_network(x, w_h, b_h, w_o, torch.tensor([[1.0]])).tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize("missing", ["hidden ReLU", "output ReLU", "hidden bias", "output bias"])
def test_a_wrong_network_formula_is_caught(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(x: Tensor, w_h: Tensor, b_h: Tensor, w_o: Tensor, b_o: Tensor) -> Tensor:
        hidden = x @ w_h if missing == "hidden bias" else x @ w_h + b_h
        hidden = hidden if missing == "hidden ReLU" else F.relu(hidden)
        output = hidden @ w_o if missing == "output bias" else hidden @ w_o + b_o
        return output if missing == "output ReLU" else F.relu(output)

    monkeypatch.setattr(theory, "hidden_layer_network", wrong)
    failed = [check.statement for check in theory.network_section(7).checks if not check.holds]
    assert failed == ["Y by the formula and by torch's layers"]


# (b) Three convolutions


def test_parameters_of_the_convolutions_are_weights_and_a_bias_for_each_map() -> None:
    counts = [(3 * 3 * inputs + 1) * outputs for inputs, outputs in ((3, 100), (100, 200), (200, 400))]
    assert counts == [2_800, 180_200, 720_400]
    outputs, parameters = theory.convolution_section().checks
    assert outputs.computed == "100 x 150 x 100, 50 x 75 x 200, 25 x 38 x 400"
    assert parameters.computed == "2,800 + 180,200 + 720,400 = 903,400"


@pytest.mark.parametrize(
    ("changed", "failed"),
    [
        ({"bias": False}, ["parameters of the three convolutions"]),
        ({"padding": 0}, ["outputs of the three convolutions"]),
        ({"stride": 3}, ["outputs of the three convolutions"]),
        ({"kernel_size": 5, "padding": 2}, ["parameters of the three convolutions"]),
    ],
    ids=["no bias", "no padding", "stride 3", "5 x 5 kernels"],
)
def test_other_convolutions_are_caught(
    changed: dict[str, Any], failed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = torch.nn.Conv2d
    monkeypatch.setattr(torch.nn, "Conv2d", lambda *maps, **settings: real(*maps, **(settings | changed)))
    assert [check.statement for check in theory.convolution_section().checks if not check.holds] == failed


# (c) Batch normalisation


@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize(("m", "n"), SHAPES)
def test_forward_pass_is_torchs_batch_norm(m: int, n: int, epsilon: float) -> None:
    x, gamma, beta, _ = random_input(m, n)
    reference = F.batch_norm(x, None, None, gamma, beta, training=True, eps=epsilon)
    assert theory.compare(theory.batch_norm(x, gamma, beta, epsilon).y, reference) == "equal"


def test_forward_pass_has_the_derivatives_that_finite_differences_give() -> None:
    x, gamma, beta, _ = (tensor.requires_grad_() for tensor in random_input(4, 3))
    assert torch.autograd.gradcheck(lambda x, gamma, beta: theory.batch_norm(x, gamma, beta, 1e-5).y, (x, gamma, beta))


@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize(("m", "n"), SHAPES)
@pytest.mark.parametrize("name", Gradients._fields)
def test_gradient_by_hand_is_autograds(name: str, m: int, n: int, epsilon: float) -> None:
    hand, autograd = (getattr(gradients, name) for gradients in both_gradients(m, n, epsilon))
    torch.testing.assert_close(hand, autograd, rtol=1e-9, atol=1e-12)


def test_gradients_by_hand_are_those_of_torchs_own_batch_norm_on_image_maps() -> None:
    """A channel of N x C x H x W maps is a column of N * H * W values."""
    generator = torch.Generator().manual_seed(1)
    maps, d_maps = torch.randn(2, 4, 3, 5, 6, dtype=torch.float64, generator=generator)
    _, gamma, beta, _ = random_input(2, 3)
    leaves = [tensor.clone().requires_grad_() for tensor in (gamma, beta, maps)]
    y = F.batch_norm(leaves[2], None, None, leaves[0], leaves[1], training=True, eps=1e-5)
    d_gamma, d_beta, d_x = torch.autograd.grad(y, leaves, d_maps)

    x, d_y, d_x = (tensor.movedim(1, -1).reshape(-1, 3) for tensor in (maps, d_maps, d_x))
    hand = theory.gradients_by_hand(x, gamma, theory.batch_norm(x, gamma, beta, 1e-5), d_y, 1e-5)
    for ours, reference in ((hand.gamma, d_gamma), (hand.beta, d_beta), (hand.x, d_x)):
        assert theory.compare(ours, reference) == "equal"


def test_gradient_of_mu_includes_the_path_through_sigma2() -> None:
    """At the mean that path is zero and its formula could be anything, so mu is put elsewhere."""
    x, gamma, beta, d_y = random_input(8, 5)
    mu = (x.mean(0) + 1).requires_grad_()
    sigma2 = ((x - mu) ** 2).mean(0)
    x_hat = (x - mu) / torch.sqrt(sigma2 + 1e-5)
    y = gamma * x_hat + beta
    (reference,) = torch.autograd.grad(y, mu, d_y)

    hand = theory.gradients_by_hand(x, gamma, BatchNorm(*(t.detach() for t in (mu, sigma2, x_hat, y))), d_y, 1e-5)
    assert theory.compare(hand.mu, reference) == "equal"
    direct = -(hand.x_hat / torch.sqrt(sigma2.detach() + 1e-5)).sum(0)
    assert theory.compare(direct, reference) == "different"


def test_gradient_of_mu_through_sigma2_is_zero_at_the_mean() -> None:
    x, gamma, beta, _ = random_input(8, 5)
    mu, sigma2, _, _ = theory.batch_norm(x.requires_grad_(), gamma, beta, 1e-5)
    (through_sigma2,) = torch.autograd.grad(sigma2.sum(), mu)  # raises if the graph had no such path
    torch.testing.assert_close(through_sigma2, torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("exponent", [-2.5, -1.0, -0.5, 0.5, 1.0, 1.5])
def test_any_exponent_but_minus_three_halves_is_far_off_in_line_d(exponent: float) -> None:
    x, gamma, beta, d_y = random_input(8, 5)
    forward = theory.batch_norm(x, gamma, beta, 1e-5)
    reference = theory.gradients_by_autograd(x, gamma, beta, d_y, 1e-5).sigma2
    right, wrong = (
        theory.sigma2_gradient(d_y * gamma, x - forward.mu, forward.sigma2, 1e-5, power) for power in (-1.5, exponent)
    )
    assert theory.compare(right, reference) == "equal"
    assert (wrong - reference).abs().max() > 0.1 * reference.abs().max()


@pytest.mark.parametrize("name", Gradients._fields)
@pytest.mark.parametrize("factor", [-1.0, 0.5, 1 + 1e-6])
def test_a_perturbed_gradient_is_caught(name: str, factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    real = theory.gradients_by_hand

    def perturbed(x: Tensor, gamma: Tensor, forward: BatchNorm, d_y: Tensor, epsilon: float) -> Gradients:
        gradients = real(x, gamma, forward, d_y, epsilon)
        return gradients._replace(**{name: getattr(gradients, name) * factor})

    monkeypatch.setattr(theory, "gradients_by_hand", perturbed)
    label = {"x_hat": "x-hat", "sigma2": "sigma^2"}.get(name, name)
    failed = [check.statement for check in theory.batch_norm_section(8, 5).checks if not check.holds]
    assert failed == [f"dL/d{label} by hand and by autograd"]


def test_a_wrong_exponent_in_line_d_spoils_the_gradients_of_sigma2_and_x(monkeypatch: pytest.MonkeyPatch) -> None:
    real = theory.sigma2_gradient

    def slipped(d_x_hat: Tensor, deviation: Tensor, sigma2: Tensor, epsilon: float, exponent: float) -> Tensor:
        return real(d_x_hat, deviation, sigma2, epsilon, -0.5 if exponent == -1.5 else exponent)

    monkeypatch.setattr(theory, "sigma2_gradient", slipped)
    failed = [check.statement for check in theory.batch_norm_section(8, 5).checks if not check.holds]
    assert failed == ["dL/dsigma^2 by hand and by autograd", "dL/dx by hand and by autograd"]


# The stage


def test_stage_writes_checks_that_hold_and_the_sections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = json.loads(run_stage(tmp_path / "run", monkeypatch))
    assert list(content) == ["checks", "sections"]
    assert len(content["checks"]) == 15
    for check in content["checks"]:
        assert list(check) == ["statement", "expected", "computed", "holds"]
        assert check["holds"] is True
    assert len({check["statement"] for check in content["checks"]}) == 15
    assert list(content["sections"]) == ["network", "cnn", "batch_norm"]
    assert "line d" in content["sections"]["batch_norm"]["note"]


def test_result_is_the_same_bytes_whatever_the_seed_and_the_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_stage(tmp_path / "first", monkeypatch)
    threads = torch.get_num_threads()
    torch.manual_seed(12345)
    torch.set_num_threads(threads + 1)
    try:
        second = run_stage(tmp_path / "second", monkeypatch)
    finally:
        torch.set_num_threads(threads)
    assert second == first
    assert first.endswith(b"}\n")


def test_result_holds_no_measured_floating_point_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    floats: list[str] = []
    json.loads(run_stage(tmp_path / "run", monkeypatch), parse_float=floats.append)
    assert floats == ["1e-05", "1e-10"]  # epsilon and tolerance, both chosen


def test_stage_leaves_the_random_numbers_of_others_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    theory.network_section(7)
    assert torch.equal(torch.rand(3), expected)


def test_a_check_that_does_not_hold_stops_the_stage_with_a_sentence_and_keeps_the_old_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    theory.RESULT.parent.mkdir()
    theory.RESULT.write_text("old")
    monkeypatch.setattr(theory, "convolution_section", lambda: Section({}, [Check("two and two", "4", "5")]))
    with pytest.raises(UserError) as raised:
        theory.main()
    assert raised.value.code == "two and two: expected 4, but computed 5."
    assert theory.RESULT.read_text() == "old"
