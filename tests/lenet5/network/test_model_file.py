"""Trained models in files."""

import copy
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lenet5 import LeNet5, UserError, load_model, load_params
from lenet5.data.tensors import load_tensors, save_tensors
from lenet5.network import model_file
from lenet5.network.model_file import save_model
from tests.conftest import ROOT


def save(path: Path, network: type[LeNet5] = LeNet5) -> LeNet5:
    """Save a model with batch normalisation and return it."""
    settings = load_params(ROOT / "params.yaml").settings("batch_norm")
    model = network(batch_norm=True)
    save_model(
        path,
        technique="batch_norm",
        settings=settings,
        weights=model.state_dict(),
        epoch=7,
        validation_loss=0.3,
        origin={"settings": settings.model_dump(), "data_sha256": {"test": "0" * 64}, "torch": "2.13.0"},
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


def test_a_network_of_any_size_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wide(LeNet5):
        def __init__(self, **arguments: Any) -> None:
            super().__init__(**arguments)
            self.f6, self.output = torch.nn.Linear(120, 40_000), torch.nn.Linear(40_000, 10)

    save(tmp_path / "wide.pt", Wide)
    assert (tmp_path / "wide.pt").stat().st_size > 2**24
    with pytest.raises(UserError, match="bytes, where at most"):
        load_model(tmp_path / "wide.pt")
    monkeypatch.setattr(model_file, "LeNet5", Wide)
    assert load_model(tmp_path / "wide.pt")[0].f6.out_features == 40_000


def test_equal_models_give_equal_files_whatever_their_names(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save(tmp_path / "one.pt")
    torch.manual_seed(0)
    save(tmp_path / "two.pt")
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "two.pt").read_bytes()


BIAS = ("state_dict", "output.bias")
MISSING = object()
DAMAGED: dict[str, tuple[tuple[str | int, ...], Any, str]] = {
    "another architecture": (("architecture",), "AlexNet", "architecture: Input should be 'LeNet5'"),
    "no epoch": (("epoch",), MISSING, "epoch: Field required"),
    "an epoch of 0": (("epoch",), 0, "epoch: Input should be greater than or equal to 1"),
    "an epoch that is NaN": (("epoch",), math.nan, "epoch: Input should be a valid integer"),
    "an epoch that is a tensor": (("epoch",), torch.tensor(7), "epoch: Input should be a valid integer"),
    "an infinite loss": (("validation_loss",), math.inf, "validation_loss: Input should be a finite number"),
    "a dropout of 5": (("arguments", "dropout"), 5.0, "arguments.dropout: Input should be less than 1"),
    "a dropout that is NaN": (("arguments", "dropout"), math.nan, "arguments.dropout: Input should be a finite"),
    "another dropout": (("arguments", "dropout"), 0.5, "arguments differ from origin.settings"),
    "an unknown setting": (("origin", "settings", "speed"), 1, "origin.settings.speed: Extra inputs"),
    "another backend": (("origin", "settings", "backend"), "tpu", "origin.settings.backend: Input should be"),
    "a number as a name": (("state_dict", 3), torch.zeros(1), "state_dict.3.[key]: Input should be a valid string"),
    "no bias": (BIAS, MISSING, "state_dict.output.bias is absent, expected torch.float32 (10,) on cpu"),
    "unknown weights": (("state_dict", "x"), torch.zeros(1), "state_dict.x is torch.float32 (1,) on cpu, expected abs"),
    "another shape": (BIAS, torch.zeros(9), "state_dict.output.bias is torch.float32 (9,) on cpu, expected"),
    "another type": (BIAS, torch.zeros(10).double(), "state_dict.output.bias is torch.float64 (10,)"),
    "weights that are NaN": (BIAS, torch.full((10,), math.nan), "state_dict.output.bias holds NaN or infinity"),
    "infinite weights": (BIAS, torch.full((10,), math.inf), "state_dict.output.bias holds NaN or infinity"),
    "other weights": (BIAS, torch.zeros(10), "weights_sha256 is not the digest of the weights"),
    "another digest": (("weights_sha256",), "0" * 64, "weights_sha256 is not the digest of the weights"),
}
ANYTHING = [None, True, -1, 2**70, 0.5, math.nan, math.inf, "", "x", b"x", [], {}, {1: 2}, (1,), MISSING]
ANYTHING += [torch.zeros(10), torch.zeros(()), torch.eye(3).to_sparse(), torch.zeros(10, device="meta")]


def changed(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy of the content with another value at a path of keys."""
    if not path:
        return value
    content = copy.deepcopy(content)
    *outer, last = path
    inside = content
    for key in outer:
        inside = inside[key]
    if value is MISSING:
        inside.pop(last)
    else:
        inside[last] = value
    return content


def paths(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value, that of the whole content first."""
    yield path
    for key, value in content.items() if isinstance(content, dict) else ():
        yield from paths(value, (*path, key))


@pytest.fixture
def content(tmp_path: Path) -> Any:
    """The content of a model's file."""
    save(tmp_path / "model.pt")
    return load_tensors(tmp_path / "model.pt")


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_model_file_with_a_wrong_value_is_rejected(kind: str, content: Any, tmp_path: Path) -> None:
    path, value, reason = DAMAGED[kind]
    save_tensors(tmp_path / "model.pt", changed(content, path, value))
    with pytest.raises(UserError) as raised:
        load_model(tmp_path / "model.pt")
    message = str(raised.value)
    assert message.startswith(f"{tmp_path}/model.pt is not a LeNet-5 of this project ({reason}")
    assert message.endswith("). If it is a result, delete it and run `dvc repro`.")
    assert "\n" not in message


def test_any_value_anywhere_in_a_model_file_gets_an_error(content: Any, tmp_path: Path) -> None:
    file, chance = tmp_path / "model.pt", random.Random(0)
    rejected = 0
    for path in paths(content):
        for value in chance.sample(ANYTHING, 2):
            if path or value is not MISSING:
                save_tensors(file, changed(content, path, value))
                try:
                    load_model(file)
                except UserError as error:
                    rejected += 1
                    assert str(file) in str(error) and len(str(error)) < 600 + len(str(file))
    assert rejected > 100


def test_a_file_that_is_not_a_model_is_rejected_by_name(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    save_tensors(path, {"weights": torch.zeros(3)})
    with pytest.raises(UserError, match=r"other\.pt is not a LeNet-5 of this project"):
        load_model(path)
    with pytest.raises(UserError, match=r"nowhere\.pt is missing"):
        load_model("nowhere.pt")
