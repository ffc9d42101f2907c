"""The real Fashion-MNIST, where one of its sources can be reached."""

from pathlib import Path

import pytest
from stages.dataset import make_split, read_idx, split_training_set
from stages.training import Data, train

from lenet5.preparation.sources import raw_files
from lenet5.support.errors import UserError
from lenet5.support.params import load_params
from lenet5.support.paths import RAW
from lenet5.training.checkpoint import Checkpoint
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    params = load_params(ROOT / "params.yaml")
    kept = ROOT / RAW
    folder = kept if kept.exists() else tmp_path_factory.mktemp("raw")
    try:
        return raw_files(folder, params.data.sha256.model_dump(by_alias=True))
    except UserError as error:
        pytest.skip(f"no source of the real data set: {error}")


def test_a_short_real_training_passes_80_percent_test_accuracy(contents: dict[str, bytes], tmp_path: Path) -> None:
    tensors = {name: read_idx(content, name) for name, content in contents.items()}
    training = make_split(tensors["train-images-idx3-ubyte"], tensors["train-labels-idx1-ubyte"])
    test = make_split(tensors["t10k-images-idx3-ubyte"], tensors["t10k-labels-idx1-ubyte"])
    assert training.labels.bincount().tolist() == [6000] * 10
    assert test.labels.bincount().tolist() == [1000] * 10
    params = load_params(ROOT / "params.yaml")
    split = split_training_set(training, params.data.validation_fraction, params.data.split_seed)
    settings = params.train.model_copy(update={"epochs": 2})
    progress = train(settings, Data(*split, test), Checkpoint(tmp_path / "checkpoint.pt"), lambda _: None)
    assert progress.best.test_accuracy > 0.80
