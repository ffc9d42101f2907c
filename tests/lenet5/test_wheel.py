"""The library as a wheel."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

# Saves and loads a model with the library that is first on the path, and prints where that is.
PROGRAM = """
import torch
from lenet5 import LeNet5, load_model, load_params
from lenet5.network.inference import logits_of, network_of
from lenet5.network.model_file import save_model
import lenet5, sys
from pathlib import Path

settings = load_params(Path(sys.argv[1])).train
saved = LeNet5()
save_model(
    Path("model.pt"),
    technique="baseline",
    settings=settings,
    weights=saved.state_dict(),
    epoch=1,
    validation_loss=0.5,
    origin={"settings": settings.model_dump(), "data_sha256": {}, "torch": str(torch.__version__)},
)
model, content = load_model("model.pt")
images = torch.randint(256, (3, 1, 32, 32), dtype=torch.uint8)
ours, theirs = (logits_of(network_of(model, backend), images) for backend in ("native", "torch"))
torch.testing.assert_close(ours, theirs)
print(lenet5.__file__)
"""


def build_folders() -> set[Path]:
    """Return what a build would leave in the project."""
    return {path for pattern in ("build", "*.egg-info") for path in ROOT.glob(pattern)}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network from a copy of the tracked files, so that the project stays as it is."""
    before = build_folders()
    folder = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():  # not deleted since the last commit
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / "source" / name)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(folder), "."]
    result = subprocess.run(command, cwd=folder / "source", check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    (path,) = folder.glob("*.whl")
    assert build_folders() == before
    return path


def test_the_wheel_contains_exactly_the_library(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    sources = {
        str(path.relative_to(ROOT)) for pattern in ("*.py", "*.[ch]") for path in ROOT.glob(f"lenet5/**/{pattern}")
    }
    assert "lenet5/network/native/lenet5.c" in names
    assert names == sources


def test_the_unpacked_wheel_works_anywhere(wheel: Path, tmp_path: Path) -> None:
    library, elsewhere = tmp_path / "library", tmp_path / "elsewhere"
    elsewhere.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(library)
    command = [sys.executable, "-c", PROGRAM, str(ROOT / "params.yaml")]
    environment = os.environ | {"PYTHONPATH": str(library)}
    result = subprocess.run(command, cwd=elsewhere, env=environment, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert Path(result.stdout.strip()) == library / "lenet5/__init__.py"
    command = [sys.executable, "-m", "lenet5.classify", "--model", "model.pt", str(ROOT / "metrics/gallery.png")]
    result = subprocess.run(command, cwd=elsewhere, env=environment, check=False, capture_output=True, text=True)
    assert (result.returncode, result.stdout.count("%")) == (0, 3), result.stderr
