"""Training and classifying on Fashion-MNIST itself, if one of its sources is available."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from lenet5 import Data, LeNet5, UserError, load_params, to_pixels, train
from lenet5.pictures.conversion import convert
from lenet5.preparation.prepare import pad, prepare
from lenet5.preparation.sources import raw_files
from lenet5.support.paths import RAW
from lenet5.training.loop import Progress
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    params = load_params(ROOT / "params.yaml")
    folder = ROOT / RAW if (ROOT / RAW).exists() else tmp_path_factory.mktemp("raw")
    try:
        return raw_files(folder, params.data.sha256.model_dump(by_alias=True))
    except UserError as error:
        pytest.skip(f"no source of Fashion-MNIST: {error}")


@pytest.fixture(scope="module")
def data(contents: dict[str, bytes]) -> Data:
    return prepare(contents, load_params(ROOT / "params.yaml").data)


@pytest.fixture(scope="module")
def progress(data: Data) -> Progress:
    return train(load_params(ROOT / "params.yaml").train.model_copy(update={"epochs": 1}), data)


def test_one_epoch_reaches_80_percent_test_accuracy(data: Data, progress: Progress) -> None:
    training_labels = torch.cat([data.train.labels, data.validation.labels])
    assert training_labels.bincount().tolist() == [6000] * 10
    assert data.test.labels.bincount().tolist() == [1000] * 10
    assert progress.best.test_accuracy > 0.80


def photograph(image: Tensor, margin: float, random: np.random.Generator) -> Image.Image:
    """Return a prepared image as people have it: an RGB JPEG of a dark object, 140 pixels large, on a light background,
    with an empty margin of this share of the object on each side, not exactly in the centre."""
    background = random.integers(243, 256, 3)
    side, border = 140, round(140 * margin)
    grey = Image.fromarray(255 - image[0, 2:-2, 2:-2].numpy())
    resampling = [Image.Resampling.NEAREST, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS][random.integers(3)]
    object_ = np.array(grey.resize((side, side), resampling))[:, :, None] / 255 * background
    top, left = border + random.integers(-(border // 3), border // 3 + 1, 2)
    pixels = np.tile(background.astype(np.uint8), (side + 2 * border, side + 2 * border, 1))
    pixels[top : top + side, left : left + side] = object_
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=int(random.integers(75, 96)))
    return Image.open(file)


def test_photographs_are_recognised_with_any_empty_margin(data: Data, progress: Progress) -> None:
    model = LeNet5()
    model.load_state_dict(progress.best_weights)
    images, labels = (tensor[:500] for tensor in data.test)

    @torch.inference_mode()
    def accuracy(images: Tensor) -> float:
        return float((model.eval()(to_pixels(images)).argmax(dim=1) == labels).double().mean())

    random = np.random.default_rng(0)
    accuracies = {}
    for margin in (0, 0.1, 0.25, 0.5):
        converted = [torch.from_numpy(convert(photograph(image, margin, random))) for image in images]
        accuracies[margin] = accuracy(pad(torch.stack(converted)[:, None]))
    assert min(accuracies.values()) > accuracy(images) - 0.02, accuracies
