"""Evaluate the kept model of one technique: `python -m stages.evaluate dropout`.

models/<technique>.pt and data/prepared -> metrics/evaluation/<technique>.json, the figures;
metrics/predictions/<technique>.csv, a row a test image; metrics/confusion/<technique>.csv, counts of class pairs.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import binomtest
from torch import Tensor

from stages import process
from stages.dataset import CLASS_NAMES, Split, load_split
from stages.errors import UserError
from stages.files import write_atomically, write_json
from stages.inference import Network, logits_of, loss_and_accuracy, network_of
from stages.model import LeNet5, parameter_count
from stages.paths import CONFUSION, EVALUATION, MODELS, PREDICTIONS
from stages.tensors import load_tensors

CALIBRATION_BINS = 15


def load_model(path: Path) -> tuple[LeNet5, dict[str, Any]]:
    """The kept model, in evaluation mode, and everything its file says of it. Raises UserError for a damaged file."""
    content = load_tensors(path)
    try:
        model = LeNet5(**content["arguments"])
        model.load_state_dict(content["state_dict"])
        _ = content["epoch"], content["origin"]["settings"]["backend"]  # what `main` reads
    except (KeyError, TypeError, RuntimeError):
        raise UserError(f"{path} holds no LeNet-5 of this project. Delete it and run `dvc repro`.") from None
    return model.eval(), content


def wilson_interval(correct: int, count: int) -> list[float]:
    """95 % score interval of a proportion (Wilson, J. Am. Stat. Assoc. 22, 1927)."""
    interval = binomtest(correct, count).proportion_ci(confidence_level=0.95, method="wilson")
    return [float(interval.low), float(interval.high)]


def expected_calibration_error(confidences: Tensor, correct: Tensor, bins: int = CALIBRATION_BINS) -> float:
    """Mean gap between confidence and accuracy over equally wide bins of confidence, weighted by their images (Guo et
    al., On calibration of modern neural networks, 2017, eq. 3). Float64 N in [0, 1] and bool N."""
    index = (confidences * bins).ceil().long().clamp(1, bins) - 1  # bins are open on the left, as in the paper
    gaps = torch.zeros(bins, dtype=torch.float64).index_add(0, index, correct.double() - confidences)
    return float(gaps.abs().sum()) / len(confidences)


def per_class_accuracy(labels: Tensor, predicted: Tensor) -> list[dict[str, Any]]:
    """Of each class that occurs, the fraction of its images that were recognised (recall)."""
    return [
        {"class": name, "accuracy": float((predicted[labels == number] == number).double().mean())}
        for number, name in enumerate(CLASS_NAMES)
        if (labels == number).any()
    ]


def confusion_counts(labels: Tensor, predicted: Tensor) -> pd.DataFrame:
    """Columns actual, predicted (class names) and count: all pairs of classes, zeros too."""
    classes = len(CLASS_NAMES)
    counts = torch.bincount(labels * classes + predicted, minlength=classes**2).tolist()
    names = np.array(CLASS_NAMES)
    pairs = {"actual": names.repeat(classes), "predicted": np.tile(names, classes)}
    return pd.DataFrame({**pairs, "count": counts})


def evaluate(network: Network, splits: dict[str, Split]) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """Figures of a network on the splits "train", "validation" and "test", in this order; per-image predictions and
    confusion counts on the last."""
    figures: dict[str, Any] = {}
    for name, split in splits.items():
        logits = logits_of(network, split.images)
        loss, accuracy = loss_and_accuracy(logits, split.labels)
        figures |= {f"{name}_loss": loss, f"{name}_accuracy": accuracy}
    confidences, predicted = logits.double().softmax(dim=1).max(dim=1)
    correct = predicted == split.labels
    figures["test_calibration_error"] = expected_calibration_error(confidences, correct)
    figures["test_accuracy_interval"] = wilson_interval(int(correct.sum()), len(correct))
    figures["test_accuracy_by_class"] = per_class_accuracy(split.labels, predicted)
    predictions = {"image": range(len(correct)), "label": split.labels.tolist(), "predicted": predicted.tolist()}
    table = pd.DataFrame({**predictions, "probability": confidences.numpy().round(6)})
    return figures, table, confusion_counts(split.labels, predicted)


def main(technique: str) -> None:
    process.set_up()
    model, content = load_model(MODELS / f"{technique}.pt")
    splits = {name: load_split(name) for name in ("train", "validation", "test")}
    # Computed as it was in training: these losses are then those of the curve, to the last digit.
    figures, predictions, confusion = evaluate(network_of(model, content["origin"]["settings"]["backend"]), splits)
    figures |= {"chosen_epoch": content["epoch"], "parameters": parameter_count(model)}
    write_json(EVALUATION / f"{technique}.json", figures)
    write_atomically(PREDICTIONS / f"{technique}.csv", predictions.to_csv(index=False, lineterminator="\n").encode())
    write_atomically(CONFUSION / f"{technique}.csv", confusion.to_csv(index=False, lineterminator="\n").encode())
    low, high = figures["test_accuracy_interval"]
    print(
        f"{technique}: test accuracy {100 * figures['test_accuracy']:.2f} % (95 % {100 * low:.2f} to {100 * high:.2f})"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m stages.evaluate", description=__doc__.partition(":")[0])
    parser.add_argument("technique", help="a name under `techniques` in params.yaml")
    main(parser.parse_args().technique)
