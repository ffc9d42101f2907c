"""The theoretical part of the exercise: the checks hold, and each would fail on a wrong formula."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lenet5.derivation import Line, batch_norm, derivation
from lenet5.support.errors import UserError
from stages import theory
from stages.theory import Section

PRINTED = ["d, as printed", "e, last line, as printed", "f, first line, as printed", "f, third line, as printed"]
LINES = ["a", "b", "c", "d, corrected", "e, first line", "e, last line, corrected", "f, first line, corrected"]
LINES += ["f, third line, corrected", "f, closed form", *PRINTED]


def run_stage(folder: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    folder.mkdir()
    monkeypatch.chdir(folder)
    theory.main()
    return theory.RESULT.read_bytes()


# The comparison that every check uses


def test_compare_tolerates_rounding_and_nothing_larger() -> None:
    reference = torch.tensor([1e-3, 1.0, -1000.0], dtype=torch.float64)
    equal, different = (theory.compare("", "", reference * (1 + by), reference) for by in (1e-15, 1e-9))
    assert (equal.result, equal.max_difference) == ("equal", "at most 1e-10")
    assert (different.result, different.max_difference) == ("different", "1e-09")
    assert equal.holds
    assert not different.holds
    assert theory.compare("", "", torch.tensor([4]), torch.tensor([4])).max_difference == "0"  # counts are exact


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
def test_compare_never_calls_meaningless_values_equal(computed: Tensor, reference: Tensor) -> None:
    assert theory.compare("", "", computed, reference).result == "different"


# (a) One hidden layer


@pytest.mark.parametrize("m", [2, 7, 50])
def test_the_network_formula_holds_for_any_number_of_rows(m: int) -> None:
    section = theory.network_section(m)
    assert [check for check in section.checks if not check.holds] == []
    assert section.checks[0].compared.startswith(f"{m} x 10, 10 x 50, 1 x 50, 50 x 3, 1 x 3, {m} x 3")


def test_the_network_formula_gives_numbers_computed_by_hand() -> None:
    x = torch.tensor([[1.0, 2.0], [-1.0, 1.0]])
    w_h, b_h = torch.tensor([[1.0, -1.0], [1.0, 2.0]]), torch.tensor([[-1.0, 0.5]])
    w_o, b_o = torch.tensor([[1.0], [-1.0]]), torch.tensor([[4.0]])
    # Hidden: [1 + 2 - 1, -1 + 4 + 0.5] and [-1 + 1 - 1 -> 0, 1 + 2 + 0.5]. Output: 2 - 3.5 + 4 and 0 - 3.5 + 4.
    assert theory.hidden_layer_network(x, w_h, b_h, w_o, b_o).tolist() == [[2.5], [0.5]]
    # The outer ReLU: with a bias of 1 both sums are negative or zero.
    assert theory.hidden_layer_network(x, w_h, b_h, w_o, torch.tensor([[1.0]])).tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize("missing", ["hidden ReLU", "output ReLU", "hidden bias", "output bias"])
def test_a_wrong_network_formula_fails_its_check(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(x: Tensor, w_h: Tensor, b_h: Tensor, w_o: Tensor, b_o: Tensor) -> Tensor:
        hidden = x @ w_h if missing == "hidden bias" else x @ w_h + b_h
        hidden = hidden if missing == "hidden ReLU" else F.relu(hidden)
        output = hidden @ w_o if missing == "output bias" else hidden @ w_o + b_o
        return output if missing == "output ReLU" else F.relu(output)

    monkeypatch.setattr(theory, "hidden_layer_network", wrong)
    failed = [check.name for check in theory.network_section(7).checks if not check.holds]
    assert failed == ["output"]


# (b) Three convolutions


OUTPUTS = [f"outputs for {side} x 300 x 3, padding {padding}" for padding in (1, 0) for side in (200, 960)]


def test_parameters_do_not_depend_on_input_and_padding() -> None:
    counts = [(3 * 3 * inputs + 1) * outputs for inputs, outputs in ((3, 100), (100, 200), (200, 400))]
    assert counts == theory.PARAMETERS == [2_800, 180_200, 720_400]
    assert sum(counts) == 903_400
    checks = theory.convolution_section().checks
    assert [check.name for check in checks if not check.holds] == []
    parameters = {check.compared for check in checks if check.name.startswith("parameters")}
    assert parameters == {"2,800 + 180,200 + 720,400 = 903,400, and torch's layers"}
    assert len({check.compared for check in checks if check.name in OUTPUTS}) == 4  # outputs depend on both


@pytest.mark.parametrize(
    ("changed", "failed"),
    [
        ({"bias": False}, ["parameters, padding 1", "parameters, padding 0"]),
        ({"padding": 0}, OUTPUTS[:2]),
        ({"padding": 1}, OUTPUTS[2:]),
        ({"stride": 3}, OUTPUTS),
        ({"kernel_size": 5, "padding": 2}, ["parameters, padding 1", "parameters, padding 0", *OUTPUTS[2:]]),
    ],
    ids=["no bias", "no padding", "padding", "stride 3", "5 x 5 kernels"],
)
def test_other_convolutions_fail_their_checks(
    changed: dict[str, Any], failed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = torch.nn.Conv2d
    monkeypatch.setattr(torch.nn, "Conv2d", lambda *maps, **settings: real(*maps, **(settings | changed)))
    assert {check.name for check in theory.convolution_section().checks if not check.holds} == set(failed)


# (c) Batch normalisation


def test_the_derivation_holds_as_corrected_and_not_as_printed() -> None:
    checks = theory.batch_norm_section(8, 5).checks
    assert [check.name for check in checks if not check.holds] == []
    wrong = [check.name for check in checks if check.result == "different"]
    assert wrong == [f"line {name}" for name in PRINTED]


@pytest.mark.parametrize("m", [3, 64])
def test_the_verdicts_do_not_depend_on_the_size_of_the_batch(m: int) -> None:
    assert [check.name for check in theory.batch_norm_section(m, 3).checks if not check.holds] == []


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("factor", [-1.0, 0.5, 1 + 1e-6])
def test_a_line_with_a_wrong_value_fails_its_check(name: str, factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A right line is made slightly wrong; of a printed one, the value is made right, so that it is no longer wrong."""

    def changed(*inputs: Any) -> list[Line]:
        lines = derivation(*inputs)
        right = {line.gradient: line.value for line in lines if line.expected == "equal"}
        return [
            line
            if line.name != name
            else line._replace(value=right[line.gradient] if line.expected == "different" else line.value * factor)
            for line in lines
        ]

    monkeypatch.setattr(theory, "derivation", changed)
    failed = [check for check in theory.batch_norm_section(8, 5).checks if not check.holds]
    assert [check.name for check in failed] == [f"line {name}"]
    assert failed[0].result == ("equal" if name in PRINTED else "different")


def test_a_wrong_batch_norm_fails_its_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(theory, "batch_norm", lambda x, gamma, beta, epsilon: batch_norm(x, gamma, beta, 2 * epsilon))
    failed = [check.name for check in theory.batch_norm_section(8, 5).checks if not check.holds]
    assert failed[0] == "batch normalisation"


# The stage


def test_the_stage_writes_its_checks_and_sections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = json.loads(run_stage(tmp_path / "run", monkeypatch))
    assert list(content) == ["tolerance", "checks", "sections"]
    for check in content["checks"]:
        assert list(check) == ["name", "compared", "max_difference", "result", "expected", "holds"]
        assert check["holds"] is True
    names = [check["name"] for check in content["checks"]]
    assert len(set(names)) == len(names) == 23
    assert {f"line {name}" for name in LINES} <= set(names)
    assert list(content["sections"]) == ["network", "cnn", "batch_norm"]


def test_the_result_depends_neither_on_seed_nor_on_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_the_result_contains_no_computed_floating_point_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    floats: list[str] = []
    json.loads(run_stage(tmp_path / "run", monkeypatch), parse_float=floats.append)
    assert floats == [
        "1e-10",
        "1e-05",
    ]  # tolerance and epsilon, both chosen; differences are text, rounded to three digits


def test_the_stage_leaves_the_global_random_generator_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    run_stage(tmp_path / "run", monkeypatch)
    assert torch.equal(torch.rand(3), expected)


def test_a_failed_check_stops_the_stage_and_keeps_the_old_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    theory.RESULT.parent.mkdir()
    theory.RESULT.write_text("old")
    wrong = theory.compare("two and two", "2 + 2, and 5", torch.tensor(4), torch.tensor(5))
    monkeypatch.setattr(theory, "convolution_section", lambda: Section({}, [wrong]))
    with pytest.raises(UserError) as raised:
        theory.main()
    assert str(raised.value) == (
        "two and two: 2 + 2, and 5: expected equal, but they are different (largest difference: 0.2)."
    )
    assert theory.RESULT.read_text() == "old"
