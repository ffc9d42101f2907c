"""Models in the formats of other programs, compared with ours on the test images of the small project."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors import safe_open
from torch import nn

from commands.export import main
from lenet5 import CLASS_NAMES, LeNet5, UserError, load_model, load_split, to_pixels
from lenet5.export.onnx_model import onnx_bytes
from tests.project import Project

TECHNIQUES = ("baseline", "batch_norm", "dropout", "weight_decay")
EXPORT = ("python", "-m", "commands.export")


def export(project: Project, form: str, technique: str, folder: Path) -> Path:
    """Return the path of a model that the command has exported to `folder`."""
    output = folder / f"{technique}.{form}"
    main(project.root / f"models/{technique}.pt", form, output)
    return output


def check_metadata(metadata: dict[str, str], content: dict[str, Any]) -> None:
    found = json.loads(metadata["lenet5"])
    assert found["classes"] == list(CLASS_NAMES)
    assert {key: found[key] for key in ("technique", "epoch", "weights_sha256")} == {
        key: content[key] for key in ("technique", "epoch", "weights_sha256")
    }


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_onnxruntime_computes_the_logits_of_our_model(
    technique: str, computed_project: Project, tmp_path: Path
) -> None:
    path = export(computed_project, "onnx", technique, tmp_path)
    model, content = load_model(computed_project.root / f"models/{technique}.pt")
    images = load_split("test", computed_project.root / "data/prepared").images
    with torch.inference_mode():
        expected = model(to_pixels(images)).numpy()
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    unpadded = images[:, :, 2:-2, 2:-2].numpy()
    for size in (1, 64):
        batches = [session.run(["logits"], {"images": batch})[0] for batch in np.split(unpadded[:64], 64 // size)]
        np.testing.assert_allclose(np.concatenate(batches), expected[:64], rtol=1e-4, atol=1e-4)
    check_metadata(session.get_modelmeta().custom_metadata_map, content)


def test_a_safetensors_file_holds_the_weights_and_metadata(computed_project: Project, tmp_path: Path) -> None:
    path = export(computed_project, "safetensors", "batch_norm", tmp_path)
    model, content = load_model(computed_project.root / "models/batch_norm.pt")
    with safe_open(path, framework="pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is not a mapping
        check_metadata(file.metadata(), content)
    assert weights.keys() == model.state_dict().keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())


def test_an_export_goes_next_to_the_model_with_equal_bytes(project: Project, tmp_path: Path) -> None:
    for form in ("onnx", "safetensors"):
        project.run(*EXPORT, "--format", form, "models/dropout.pt")
        assert project.read(f"models/dropout.{form}") == export(project, form, "dropout", tmp_path).read_bytes()
    assert "dropout" not in project.run("git", "status", "--porcelain", "--untracked-files=all", "models").stdout


@pytest.mark.parametrize("form", ["onnx", "safetensors"])
def test_a_missing_package_is_named_with_its_command(form: str, computed_project: Project, tmp_path: Path) -> None:
    program = (
        f"import runpy, sys; sys.modules['{form}'] = None; runpy.run_module('commands.export', run_name='__main__')"
    )
    output = tmp_path / "model"
    command = [sys.executable, "-c", program, "--format", form, "models/dropout.pt", "--output", str(output)]
    ended = subprocess.run(command, cwd=computed_project.root, check=False, capture_output=True, text=True)
    assert ended.returncode == 1 and not output.exists()
    assert ended.stderr.startswith(f"--format {form} needs a package: run `make environment GROUP=export`")
    assert len(ended.stderr.splitlines()) == 1


def test_a_file_that_is_not_a_model_is_not_exported(computed_project: Project, tmp_path: Path) -> None:
    ended = computed_project.run(*EXPORT, "--format", "onnx", "metrics/gallery.png", check=False)
    assert ended.returncode == 1 and ended.stderr.startswith("metrics/gallery.png is damaged or was not written by")
    assert not (computed_project.root / "metrics/gallery.onnx").exists()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("models/dropout.pt", "--output models/../models/dropout.pt is the model itself"),
        (".", ". is damaged or was not written"),
    ],
)
def test_an_export_never_replaces_its_model(model: str, message: str, project: Project) -> None:
    before = project.read("models/dropout.pt")
    options = ("--format", "safetensors", "--output", "models/../models/dropout.pt")
    ended = project.run(*EXPORT, *options, model, check=False)
    assert ended.returncode == 1 and ended.stderr.startswith(message)
    assert project.read("models/dropout.pt") == before


def test_another_network_is_not_exported_as_a_lenet5() -> None:
    model = LeNet5().eval()
    assert onnx.load_model_from_string(onnx_bytes(model, {})).graph.name == "LeNet5"
    model.relu = nn.Tanh()  # type: ignore[assignment]
    with pytest.raises(UserError, match="LeNet5 is not the network of"):
        onnx_bytes(model, {})
    model.f6 = nn.Linear(120, 84, bias=False)
    with pytest.raises(UserError, match=r"edit `layers` \(KeyError: 'f6\.bias'\)"):
        onnx_bytes(model, {})
    del model.f6
    with pytest.raises(UserError, match=r"edit `layers` \(.*f6"):
        onnx_bytes(model, {})
