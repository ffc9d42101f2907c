"""Settings and data of a run that takes a second."""

import torch

from lenet5 import Data, TrainSettings, load_params
from lenet5.preparation.prepare import make_split
from tests.conftest import ROOT
from tests.project import small_images


def small_data() -> Data:
    """Return generated splits of 150, 60 and 60 images."""
    splits = (small_images(count, seed) for seed, count in enumerate((150, 60, 60)))
    return Data(*(make_split(torch.from_numpy(images), torch.from_numpy(labels), "train") for images, labels in splits))


def settings(**overrides: object) -> TrainSettings:
    """Return the study's settings, with four epochs and these overrides."""
    defaults = load_params(ROOT / "params.yaml").train.model_dump() | {"epochs": 4}
    return TrainSettings.model_validate(defaults | overrides)
