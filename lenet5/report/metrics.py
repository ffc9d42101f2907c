"""The metrics of a trained network."""

from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy.stats import binomtest
from torch import Tensor

from lenet5.data.dataset import Data
from lenet5.network.inference import Network, logits_of, loss_and_accuracy

CALIBRATION_BINS = 15


def evaluate(
    network: Network, data: Data, class_names: tuple[str, ...]
) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """Return the metrics of a network, its prediction for each test image, and the confusion counts on the test images.

    A prediction has the label, the predicted class, the probability of that class, and the loss.
    The metrics are the loss in nats and the accuracy as a fraction on each split; on the test images also the expected
    calibration error, the 95 % interval of the accuracy, and the accuracy per class.
    """
    metrics: dict[str, Any] = {}
    for name, split in data._asdict().items():
        logits = logits_of(network, split.images)
        loss, accuracy = loss_and_accuracy(logits, split.labels)
        metrics |= {f"{name}_loss": loss, f"{name}_accuracy": accuracy}
    labels = data.test.labels
    confidences, predicted = logits.double().softmax(dim=1).max(dim=1)  # the test split comes last
    correct = predicted == labels
    metrics["test_calibration_error"] = expected_calibration_error(confidences, correct)
    metrics["test_accuracy_interval"] = wilson_interval(int(correct.sum()), len(correct))
    metrics["test_accuracy_by_class"] = per_class_accuracy(labels, predicted, class_names)
    columns = {"image": range(len(correct)), "label": labels.tolist(), "predicted": predicted.tolist()}
    losses = F.cross_entropy(logits.double(), labels, reduction="none")
    predictions = pd.DataFrame(
        {**columns, "probability": confidences.numpy().round(6), "loss": losses.numpy().round(6)}
    )
    return metrics, predictions, confusion_counts(labels, predicted, class_names)


def wilson_interval(correct: int, count: int) -> list[float]:
    """Return the 95 % score interval of a proportion (Wilson, J. Am. Stat. Assoc. 22, 1927)."""
    interval = binomtest(correct, count).proportion_ci(confidence_level=0.95, method="wilson")
    return [float(interval.low), float(interval.high)]


def expected_calibration_error(confidences: Tensor, correct: Tensor, bins: int = CALIBRATION_BINS) -> float:
    """Return the mean gap between confidence and accuracy over bins of equal width, weighted by their number of images.

    Guo et al., On calibration of modern neural networks, ICML 2017, eq. 3. confidences: float64 N in [0, 1]; correct:
    bool N.
    """
    index = (confidences * bins).ceil().long().clamp(1, bins) - 1  # bins are open on the left, as in the paper
    gaps = torch.zeros(bins, dtype=torch.float64).index_add(0, index, correct.double() - confidences)
    return float(gaps.abs().sum()) / len(confidences)


def per_class_accuracy(labels: Tensor, predicted: Tensor, class_names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return, for each class that occurs, the fraction of its images that are classified correctly (recall).

    labels, predicted: int64 N.
    """
    return [
        {"class": name, "accuracy": float((predicted[labels == number] == number).double().mean())}
        for number, name in enumerate(class_names)
        if (labels == number).any()
    ]


def confusion_counts(labels: Tensor, predicted: Tensor, class_names: tuple[str, ...]) -> pd.DataFrame:
    """Return one row for each pair of classes, with the columns actual, predicted (names) and count.

    labels, predicted: int64 N.
    """
    classes = len(class_names)
    counts = torch.bincount(labels * classes + predicted, minlength=classes**2).tolist()
    names = np.array(class_names)
    pairs = {"actual": names.repeat(classes), "predicted": np.tile(names, classes)}
    return pd.DataFrame({**pairs, "count": counts})
