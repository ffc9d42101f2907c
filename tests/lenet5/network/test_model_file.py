"""Trained models in files."""

from pathlib import Path

import pytest
import torch

from lenet5 import LeNet5, UserError, load_model, load_params
from lenet5.data.tensors import save_tensors
from lenet5.network.model_file import save_model
from tests.conftest import ROOT


def save(path: Path) -> LeNet5:
    """Save a model with batch normalisation and return it."""
    settings = load_params(ROOT / "params.yaml").settings("batch_norm")
    model = LeNet5(batch_norm=True)
    save_model(
        path,
        technique="batch_norm",
        settings=settings,
        weights=model.state_dict(),
        epoch=7,
        validation_loss=0.3,
        origin={"settings": settings.model_dump()},
    )
    return model.eval()


@pytest.mark.parametrize("kind", [str, Path])
def test_a_model_is_loaded_from_a_str_or_a_path(kind: type[str | Path], tmp_path: Path) -> None:
    saved = save(tmp_path / "model.pt")
    loaded, content = load_model(kind(tmp_path / "model.pt"))
    pixels = torch.rand(3, 1, 32, 32)
    assert not loaded.training
    assert torch.equal(loaded(pixels), saved(pixels))
    assert (content["technique"], content["epoch"], content["validation_loss"]) == ("batch_norm", 7, 0.3)


def test_equal_models_give_equal_files_whatever_their_names(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save(tmp_path / "one.pt")
    torch.manual_seed(0)
    save(tmp_path / "two.pt")
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "two.pt").read_bytes()


def test_a_file_that_is_not_a_model_is_rejected_by_name(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    save_tensors(path, {"weights": torch.zeros(3)})
    with pytest.raises(UserError, match=r"other\.pt is not a LeNet-5 of this project"):
        load_model(path)
    with pytest.raises(UserError, match=r"nowhere\.pt is missing"):
        load_model("nowhere.pt")
