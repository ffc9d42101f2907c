"""Compare the techniques.

metrics/{evaluation,predictions} -> metrics/summary.{json,csv,md} and the model card, models/README.md.
"""

from lenet5.support.process import Inputs, set_up, take_no_arguments

set_up()

import math
from typing import Any

import pandas as pd

from lenet5.report.cards import model_card
from lenet5.report.comparison import compare_with_baseline
from lenet5.report.tables import estimate_text, markdown, p_value_text
from lenet5.support.files import Fields, damaged, interval, number, read_csv, read_json, write_atomically, write_json
from lenet5.support.params import BASELINE, Params, load_params
from lenet5.support.paths import EVALUATION, METRICS, MODELS, PREDICTIONS

SUMMARY = METRICS / "summary"
HEADER = ["technique", "test accuracy % (95 %)", "train %", "epoch", "test loss", "calibration error %"]
HEADER += ["vs. baseline, points", "McNemar p (Holm)", "exercise: test / train %"]


def recalls(value: Any) -> list[dict[str, Any]]:
    return [{"class": str(each["class"]), "accuracy": number(each["accuracy"])} for each in value]


# What the table and the model card show of an evaluation
SHOWN: Fields = {
    "test_accuracy": number,
    "test_accuracy_interval": interval,
    "train_accuracy": number,
    "validation_accuracy": number,
    "test_loss": number,
    "validation_loss": number,
    "test_accuracy_by_class": recalls,
    "test_calibration_error": number,
    "chosen_epoch": int,
    "parameters": int,
}


def read_predictions(name: str, metrics: dict[str, Any]) -> pd.DataFrame:
    """Return label, prediction and its probability of each test image. Raises UserError if they contradict the
    metrics."""
    path, evaluation = PREDICTIONS / f"{name}.csv", EVALUATION / f"{name}.json"
    table = pd.DataFrame(read_csv(path, {"label": int, "predicted": int, "probability": number}))
    if not math.isclose((table["label"] == table["predicted"]).mean(), metrics["test_accuracy"], abs_tol=1e-9):
        raise damaged(path, f"its accuracy is not the one in {evaluation}")
    if table["label"].nunique() != len(metrics["test_accuracy_by_class"]):
        raise damaged(evaluation, f"its classes are not those in {path}")
    return table


def check_images(predictions: dict[str, pd.DataFrame]) -> None:
    """Raise UserError unless all techniques were evaluated on the same test images."""
    for name, table in predictions.items():
        if not table["label"].equals(predictions[BASELINE]["label"]):
            raise damaged(PREDICTIONS / f"{name}.csv", f"its images are not those of {BASELINE}.csv")


def summarise(
    params: Params, evaluations: dict[str, Any], predictions: dict[str, pd.DataFrame]
) -> list[dict[str, Any]]:
    """Return one row per technique, in the order of params.yaml: accuracies in percent, losses in nats."""
    correct = {name: (table["label"] == table["predicted"]).to_numpy() for name, table in predictions.items()}
    compared = compare_with_baseline(correct)
    rows = []
    for name, metrics in evaluations.items():
        low, high = metrics["test_accuracy_interval"]
        reported = params.exercise.get(name)
        rows.append(
            {
                "technique": name,
                "test_accuracy": 100 * metrics["test_accuracy"],
                "test_accuracy_low": 100 * low,
                "test_accuracy_high": 100 * high,
                "train_accuracy": 100 * metrics["train_accuracy"],
                "validation_accuracy": 100 * metrics["validation_accuracy"],
                "test_loss": metrics["test_loss"],
                "validation_loss": metrics["validation_loss"],
                "calibration_error": 100 * metrics["test_calibration_error"],
                "chosen_epoch": metrics["chosen_epoch"],
                "parameters": metrics["parameters"],
                **compared.get(name, dict.fromkeys(next(iter(compared.values()), {}))),
                "exercise_test_accuracy": reported and reported.test,
                "exercise_train_accuracy": reported and reported.train,
            }
        )
    return rows


def cells(row: dict[str, Any]) -> list[str]:
    """Return a row of the Markdown table."""
    interval = [row["test_accuracy_low"], row["test_accuracy_high"]]
    line = [
        row["technique"],
        estimate_text(row["test_accuracy"], interval),
        f"{row['train_accuracy']:.2f}",
        str(row["chosen_epoch"]),
    ]
    line += [f"{row['test_loss']:.4f}", f"{row['calibration_error']:.2f}"]
    compared = row.get("mcnemar_p_holm") is not None
    line += [f"{row['difference_points']:+.2f}", p_value_text(row["mcnemar_p_holm"])] if compared else ["", ""]
    reported = row["exercise_test_accuracy"] is not None
    return [*line, f"{row['exercise_test_accuracy']:.2f} / {row['exercise_train_accuracy']:.2f}" if reported else ""]


def main() -> None:
    inputs = Inputs(load_params, EVALUATION, PREDICTIONS)
    params = inputs.parameters
    evaluations = {name: read_json(EVALUATION / f"{name}.json", SHOWN) for name in params.techniques}
    predictions = {name: read_predictions(name, evaluations[name]) for name in params.techniques}
    check_images(predictions)
    rows = summarise(params, evaluations, predictions)
    table = markdown(HEADER, [cells(row) for row in rows])
    card = model_card(params, evaluations, predictions, table)
    frame = pd.DataFrame(rows)
    counts = frame.columns.intersection(["only_this_right", "only_baseline_right"])
    frame = frame.astype(dict.fromkeys(counts, "Int64"))  # integers, although the baseline has none
    p_values = ["mcnemar_p", "mcnemar_p_holm"]  # which can be far below a millionth
    csv = frame.round({name: 6 for name in frame if name not in p_values}).to_csv(index=False, lineterminator="\n")
    inputs.require_unchanged()
    write_json(SUMMARY.with_suffix(".json"), {"techniques": rows})
    write_atomically(SUMMARY.with_suffix(".csv"), csv.encode())
    write_atomically(SUMMARY.with_suffix(".md"), table.encode())
    write_atomically(MODELS / "README.md", card.encode())
    print(table)


if __name__ == "__main__":
    take_no_arguments()
    main()
