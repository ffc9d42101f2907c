"""The model card, on two techniques and four test images of three classes."""

from typing import Any

import pandas as pd

from lenet5.report.cards import confusion_rows, model_card
from lenet5.support.params import load_params
from tests.conftest import ROOT
from tests.documents import cells

CLASSES = ["coat", "dress", "bag"]
LABELS = [0, 0, 1, 7]  # of the classes, of which some have no test image


def predicted(*classes: int) -> pd.DataFrame:
    return pd.DataFrame({"label": LABELS, "predicted": classes, "probability": [0.5, 0.6, 0.7, 0.8]})


def evaluation(*accuracies: float) -> dict[str, Any]:
    by_class = [{"class": name, "accuracy": value} for name, value in zip(CLASSES, accuracies, strict=True)]
    values = {"test_accuracy": 0.5, "test_calibration_error": 0.15, "parameters": 61_706, "chosen_epoch": 3}
    return values | {"test_accuracy_by_class": by_class}


def rows(card: str, heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading, without its header."""
    section = card.split(f"## {heading}\n")[1].split("\n## ", maxsplit=1)[0]
    return cells("\n".join(line for line in section.splitlines() if line.startswith("|")))[2:]


def test_the_model_card_holds_the_statistics_of_each_technique() -> None:
    params = load_params(ROOT / "params.yaml")
    evaluations = {"baseline": evaluation(0.5, 1, 0), "dropout": evaluation(1, 0, 0)}
    predictions = {"baseline": predicted(0, 1, 1, 0), "dropout": predicted(0, 0, 0, 0)}
    card = model_card(params, evaluations, predictions, "| the table |\n")
    assert "On 4 test images" in card and "one of 3 classes" in card and "\n| the table |\n" in card
    assert rows(card, "Models")[1] == ["`dropout.pt`", "dropout: 0.2", "61,706", "3"]
    assert rows(card, "Recall per class") == [
        ["coat", "50.0", "100.0"],
        ["dress", "100.0", "0.0"],
        ["bag", "0.0", "0.0"],
    ]
    assert rows(card, "Calibration")[0] == ["baseline", "65.00", "50.00", "15.00"]
    confusions = [["bag", "coat", "1", "1"], ["coat", "dress", "1", "0"], ["dress", "coat", "0", "1"]]
    assert rows(card, "What they get wrong") == confusions


def test_confusions_with_classes_without_images_are_numbered() -> None:
    assert confusion_rows({"baseline": predicted(0, 0, 1, 4)}, CLASSES) == [["bag", "class 4", "1"]]


def test_a_model_without_errors_has_no_confusions() -> None:
    assert confusion_rows({"baseline": predicted(*LABELS)}, CLASSES) == []
    one = {"baseline": predicted(*LABELS), "dropout": predicted(0, 0, 1, 0)}
    assert confusion_rows(one, CLASSES) == [["bag", "coat", "0", "1"]]
