"""What a network predicts in evaluation mode."""

import math

import pytest
import torch

from lenet5.network.inference import loss_and_accuracy


def test_loss_and_accuracy_equal_values_computed_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)], [math.log(3.0), 0.0]])
    loss, accuracy = loss_and_accuracy(logits, torch.tensor([1, 1]))
    assert loss == pytest.approx((math.log(4 / 3) + math.log(4)) / 2)
    assert accuracy == 0.5
