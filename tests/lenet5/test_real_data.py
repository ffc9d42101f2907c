"""Training on Fashion-MNIST itself, if one of its sources is available."""

import pytest
import torch

from lenet5 import UserError, load_params, train
from lenet5.preparation.prepare import prepare
from lenet5.preparation.sources import raw_files
from lenet5.support.paths import RAW
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    params = load_params(ROOT / "params.yaml")
    folder = ROOT / RAW if (ROOT / RAW).exists() else tmp_path_factory.mktemp("raw")
    try:
        return raw_files(folder, params.data.sha256.model_dump(by_alias=True))
    except UserError as error:
        pytest.skip(f"no source of Fashion-MNIST: {error}")


def test_one_epoch_reaches_80_percent_test_accuracy(contents: dict[str, bytes]) -> None:
    params = load_params(ROOT / "params.yaml")
    data = prepare(contents, params.data)
    training_labels = torch.cat([data.train.labels, data.validation.labels])
    assert training_labels.bincount().tolist() == [6000] * 10
    assert data.test.labels.bincount().tolist() == [1000] * 10
    progress = train(params.train.model_copy(update={"epochs": 1}), data)
    assert progress.best.test_accuracy > 0.80
