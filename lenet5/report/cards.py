"""The model card, models/README.md: what the trained networks are for, how good they are, and what they get wrong."""

import json
from typing import Any

import pandas as pd

from lenet5.report.tables import markdown
from lenet5.support.params import Params

CONFUSIONS = 8  # pairs of classes in the table

CARD = """\
# Model card

The stage `summary` writes this file. `dvc pull train` restores the published models, and `make reproduce` trains them.

## Models

LeNet-5 with ReLU and average pooling ([LeCun, Bottou, Bengio and Haffner
1998](https://doi.org/10.1109/5.726791)). It predicts one of {classes} classes for a grey image of 28x28 pixels, light
on black, padded to 32x32 and divided by 255. {data} describes the images.

{models}
`settings` are those that differ from `train` in `params.yaml`. A file also records its training settings, digests of
images and weights, and the epoch; `load_model` of the package `lenet5` checks them.

## Intended use

Comparing regularisation techniques, teaching, and trying out DVC. The models predict one of their classes for any
picture, even one that shows none of them. Do not use them where an error has consequences.

## Metrics

On {images:,} test images, after one run per technique; the kept epoch is the one with the lowest validation loss.

{summary}
The intervals are Wilson's. They cover other test images, not other runs from the same training images; `make
replicate` repeats each technique over seeds.

## Recall per class

The percentage of the test images of each class that is predicted as this class.

{recall}
## Calibration

The mean probability of the predicted class, and the accuracy, in percent. A model is overconfident if the first is
higher. The calibration error is the mean gap between the two over 15 bins of the probability.

{calibration}
## What they get wrong

The most frequent confusions: how many of the test images of a class are predicted as another.

{confusions}
## Licence

[MIT](../LICENSE), like the code. {data} names the licence of the images.
"""


def model_card(params: Params, evaluations: dict[str, Any], predictions: dict[str, pd.DataFrame], summary: str) -> str:
    """Return the model card, in Markdown.

    evaluations, predictions: for each technique, as the stage `evaluate` writes them; summary: the table of the study.
    """
    techniques = list(evaluations)
    first = techniques[0]
    recalls = {name: class_accuracies(evaluations[name]) for name in techniques}
    return CARD.format(
        classes=len(recalls[first]),
        images=len(predictions[first]),
        data="[data/README.md](../data/README.md)",
        models=markdown(["file", "settings", "parameters", "kept epoch"], model_rows(params, evaluations)),
        summary=summary,
        recall=markdown(
            ["class", *techniques],
            [[each, *(f"{100 * recalls[name][each]:.1f}" for name in techniques)] for each in recalls[first]],
        ),
        calibration=markdown(
            ["technique", "mean probability", "accuracy", "calibration error"],
            [calibration_row(name, evaluations[name], predictions[name]) for name in techniques],
        ),
        confusions=markdown(["class", "predicted as", *techniques], confusion_rows(predictions, list(recalls[first]))),
    )


def class_accuracies(evaluation: dict[str, Any]) -> dict[str, float]:
    """Return the test accuracy of each class, from 0 to 1, by its name."""
    return {each["class"]: each["accuracy"] for each in evaluation["test_accuracy_by_class"]}


def model_rows(params: Params, evaluations: dict[str, Any]) -> list[list[str]]:
    """Return one row for each model: its file, settings, parameters and kept epoch."""
    rows = []
    for name, evaluation in evaluations.items():
        settings = ", ".join(f"{key}: {json.dumps(value)}" for key, value in params.techniques[name].items())
        rows.append([f"`{name}.pt`", settings, f"{evaluation['parameters']:,}", str(evaluation["chosen_epoch"])])
    return rows


def calibration_row(name: str, evaluation: dict[str, Any], predictions: pd.DataFrame) -> list[str]:
    """Return a technique with its mean probability, test accuracy and calibration error, in percent."""
    values = predictions["probability"].mean(), evaluation["test_accuracy"], evaluation["test_calibration_error"]
    return [name, *(f"{100 * value:.2f}" for value in values)]


def confusion_rows(predictions: dict[str, pd.DataFrame], classes: list[str]) -> list[list[str]]:
    """Return one row for each of the most frequent confusions over all techniques, the most frequent one first.

    classes: the names of the labels that occur, in their order.
    """
    labels = sorted(next(iter(predictions.values()))["label"].unique())
    names = dict(zip(labels, classes, strict=True))
    counts = pd.DataFrame(
        {
            name: table[table["label"] != table["predicted"]].groupby(["label", "predicted"]).size()
            for name, table in predictions.items()
        }
    )
    counts = counts.fillna(0).astype(int)
    frequent = counts.loc[counts.sum(axis=1).sort_values(ascending=False, kind="stable").index[:CONFUSIONS]]
    return [
        [*(names.get(number, f"class {number}") for number in pair), *map(str, row)]
        for pair, row in zip(frequent.index, frequent.to_numpy().tolist(), strict=True)
    ]
