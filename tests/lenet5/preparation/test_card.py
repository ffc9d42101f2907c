"""The data card, on a handful of images."""

import torch

from lenet5 import Data, Split, load_params
from lenet5.preparation.card import data_card, identical_images
from tests.conftest import ROOT

SETTINGS = load_params(ROOT / "params.yaml").data


def split(*labels: int) -> Split:
    """Return a split whose images are as different as their labels."""
    images = torch.tensor(labels, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 1, 32, 32)
    return Split(images, torch.tensor(labels))


def test_the_data_card_counts_splits_classes_and_equal_images() -> None:
    data = Data(split(0, 1, 1), split(9), split(2, 9))
    assert identical_images(data) == 2
    card = data_card(data, SETTINGS)
    lines = [line.replace(" ", "") for line in card.splitlines()]
    assert "|Trouser|2|0|0|" in lines and "|Ankleboot|0|1|1|" in lines and "|all|3|1|2|" in lines
    assert "**Identical images.** 2 images equal an earlier one" in card
    assert all(digest in card for digest in SETTINGS.sha256.model_dump().values())


def test_only_fashion_mnist_is_described_as_fashion_mnist() -> None:
    data = Data(split(0), split(1), split(2))
    assert "Zalando" in data_card(data, SETTINGS) and "Geier" in data_card(data, SETTINGS)
    other = SETTINGS.sha256.model_copy(update={"train_images": "0" * 64})
    card = data_card(data, SETTINGS.model_copy(update={"sha256": other, "subset": 0.5}))
    assert "Zalando" not in card and "Geier" not in card
    assert "Describe their origin, licence and problems in `lenet5/preparation/card.py`." in card
    assert "Only the first 50 % of the images are used." in card
