"""Evaluate the model of one technique: `python -m stages.evaluate dropout`.

models/<technique>.pt and data/prepared -> metrics/evaluation/<technique>.json, the metrics;
metrics/predictions/<technique>.csv, one row per test image; metrics/confusion/<technique>.csv, one row per pair of
classes.
"""

from lenet5.support.process import Inputs, set_up, set_up_torch

set_up()

import argparse

from lenet5.data.dataset import load_data
from lenet5.network.inference import network_of
from lenet5.network.model import parameter_count
from lenet5.network.model_file import load_model
from lenet5.report.metrics import evaluate
from lenet5.support.files import write_atomically, write_json
from lenet5.support.paths import CONFUSION, EVALUATION, MODELS, PREDICTIONS, PREPARED


def main(technique: str) -> None:
    set_up_torch()
    path = MODELS / f"{technique}.pt"
    inputs = Inputs(lambda: None, path, PREPARED)
    model, content = load_model(path)
    # The backend of the run, so that, if it ran on the CPU, the losses equal those of the curve to the last digit.
    network = network_of(model, content["origin"]["settings"]["backend"])
    metrics, predictions, confusion = evaluate(network, load_data(), content["class_names"])
    metrics |= {"chosen_epoch": content["epoch"], "parameters": parameter_count(model)}
    inputs.require_unchanged()
    write_json(EVALUATION / f"{technique}.json", metrics)
    write_atomically(PREDICTIONS / f"{technique}.csv", predictions.to_csv(index=False, lineterminator="\n").encode())
    write_atomically(CONFUSION / f"{technique}.csv", confusion.to_csv(index=False, lineterminator="\n").encode())
    low, high = metrics["test_accuracy_interval"]
    accuracy = 100 * metrics["test_accuracy"]
    print(f"{technique}: test accuracy {accuracy:.2f} % (95 % interval {100 * low:.2f} to {100 * high:.2f})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m stages.evaluate", description="Evaluate the model of a technique.")
    parser.add_argument("technique", help="a name under `techniques` in params.yaml")
    main(parser.parse_args().technique)
