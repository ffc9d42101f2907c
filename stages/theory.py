"""Verify the theoretical part of the exercise with PyTorch: -> metrics/theory.json.

Each check compares two values, one of them computed by PyTorch, and expects them to be equal, or different where the
exercise is wrong; the stage fails if one does not hold. Differences are rounded in the file, and those within the
tolerance are recorded as `at most 1e-10`, so that it contains no rounding errors of one machine.
"""

from lenet5.support.process import Inputs, set_up, take_no_arguments

set_up()

from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lenet5.derivation import batch_norm, derivation, gradients_by_autograd
from lenet5.support.errors import UserError
from lenet5.support.files import write_json

RESULT = Path("metrics/theory.json")
SEED = 0
EPSILON = 1e-5
PARAMETERS = [2_800, 180_200, 720_400]  # of each of the three convolutions, with one bias per map
# Outputs of the three convolutions, height x width x maps, by the padding and the height of an image 300 wide.
OUTPUTS = {
    (1, 200): [[100, 150, 100], [50, 75, 200], [25, 38, 400]],
    (1, 960): [[480, 150, 100], [240, 75, 200], [120, 38, 400]],
    (0, 200): [[99, 149, 100], [49, 74, 200], [24, 36, 400]],
    (0, 960): [[479, 149, 100], [239, 74, 200], [119, 36, 400]],
}
TOLERANCE = 1e-10  # float64 rounds at 1e-16; a wrong formula is wrong in its first digits


class Check(NamedTuple):
    """Two values that were compared, their largest difference, and whether they are, and should be, equal."""

    name: str
    compared: str
    max_difference: str
    result: str
    expected: str

    @property
    def holds(self) -> bool:
        return self.expected == self.result


class Section(NamedTuple):
    """One part of the exercise: its setting, as JSON values, and its checks."""

    setting: dict[str, Any]
    checks: list[Check]


def difference(computed: Tensor, reference: Tensor) -> float:
    """Return the largest difference, divided by the largest reference value.

    It is infinite if shapes differ, or if the reference is all zeros or has infinity or NaN: agreement with that would
    prove nothing.
    """
    scale = reference.abs().max()
    comparable = computed.shape == reference.shape and 0 < scale < torch.inf
    return float((computed - reference).abs().max() / scale) if comparable else torch.inf


def compare(name: str, compared: str, computed: Tensor, reference: Tensor, expected: str = "equal") -> Check:
    """Return a check of two tensors, which are equal if their difference is at most TOLERANCE."""
    largest = difference(computed, reference)
    if largest <= TOLERANCE:
        within = f"at most {TOLERANCE}" if computed.is_floating_point() else "0"
        return Check(name, compared, within, "equal", expected)
    return Check(name, compared, f"{largest:.3g}", "different", expected)


def shapes_text(shapes: list[list[int]]) -> str:
    """Return shapes as the exercise writes them: "7 x 10, 10 x 50"."""
    return ", ".join(" x ".join(map(str, shape)) for shape in shapes)


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

    shapes = [[m, 10], [10, 50], [1, 50], [50, 3], [1, 3], [m, 3]]
    computed = torch.tensor([tensor.shape for tensor in (x, w_h, b_h, w_o, b_o, y)])
    compared = f"{shapes_text(shapes)}, and the tensors X, W_h, b_h, W_o, b_o, Y"
    checks = [
        compare(f"shapes for m = {m}", compared, computed, torch.tensor(shapes)),
        compare("output", "Y by the formula, and by torch's layers", y, y_of_layers),
        compare("bias", "Y with bias rows, and with bias matrices of m equal rows", y, y_of_matrices),
    ]
    note = "b_h is one row, 1 x 50, that broadcasts over the m rows; the exercise writes it m x 50."
    return Section({"formula": "Y = ReLU(ReLU(X W_h + b_h) W_o + b_o)", "m": m, "note": note}, checks)


def convolution_section() -> Section:
    """Check parameters and outputs of three convolutions, with two paddings and on images of two sizes."""
    total = f"{' + '.join(f'{count:,}' for count in PARAMETERS)} = {sum(PARAMETERS):,}"
    checks: list[Check] = []
    for padding in (1, 0):
        maps = ((3, 100), (100, 200), (200, 400))
        # The device "meta" computes shapes alone.
        layers = [nn.Conv2d(*pair, kernel_size=3, stride=2, padding=padding, device="meta") for pair in maps]
        counts = torch.tensor([sum(parameter.numel() for parameter in layer.parameters()) for layer in layers])
        compared = f"{total}, and torch's layers"
        checks.append(compare(f"parameters, padding {padding}", compared, counts, torch.tensor(PARAMETERS)))
        for height in (200, 960):
            outputs = [torch.zeros(3, height, 300, device="meta")]
            for layer in layers:
                outputs.append(layer(outputs[-1]))
            shapes = torch.tensor([output.permute(1, 2, 0).shape for output in outputs[1:]])
            expected = OUTPUTS[padding, height]
            name = f"outputs for {height} x 300 x 3, padding {padding}"
            checks.append(compare(name, f"{shapes_text(expected)}, and torch's layers", shapes, torch.tensor(expected)))
    inputs = ["200 x 300 x 3", "960 x 300 x 3"]
    note = "The exercise gives both inputs, and no padding: outputs depend on these, the number of parameters does not."
    return Section({"inputs": inputs, "kernel": "3 x 3", "stride": 2, "paddings": [1, 0], "note": note}, checks)


def batch_norm_section(m: int, n: int) -> Section:
    """Check batch normalisation and each line of the derivation on random float64 input (m x n)."""
    generator = torch.Generator().manual_seed(SEED)
    rows = torch.randn(2 * m + 2, n, dtype=torch.float64, generator=generator)
    # Tripled: with a variance near 1, any exponent would look nearly right.
    x, d_y, gamma, beta = 3 * rows[:m], rows[m : 2 * m], rows[-2], rows[-1]
    forward = batch_norm(x, gamma, beta, EPSILON)
    autograd = gradients_by_autograd(x, gamma, beta, d_y, EPSILON)

    y_of_torch = F.batch_norm(x, None, None, gamma, beta, training=True, eps=EPSILON)
    checks = [compare("batch normalisation", "y by the formula, and by torch", forward.y, y_of_torch)]
    for line in derivation(x, gamma, forward, d_y, EPSILON):
        reference = getattr(autograd, line.gradient)
        checks.append(compare(f"line {line.name}", line.equation, line.value, reference, line.expected))
    note = "s = sigma^2 + epsilon. The right side of each line, by hand, is compared with the left side, by autograd."
    return Section({"input": f"{m} x {n}", "epsilon": EPSILON, "note": note}, checks)


def report(**sections: Section) -> dict[str, Any]:
    """Return the content of the JSON file. Raises UserError with one line for each check that does not hold."""
    checks = [check for section in sections.values() for check in section.checks]
    if failed := [check for check in checks if not check.holds]:
        raise UserError(
            "\n".join(
                f"{check.name}: {check.compared}: expected {check.expected}, but they are {check.result} "
                f"(largest difference: {check.max_difference})."
                for check in failed
            )
        )
    return {
        "tolerance": TOLERANCE,
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
    take_no_arguments()
    main()
