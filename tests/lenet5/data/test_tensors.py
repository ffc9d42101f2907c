"""Files of tensors: what is not one is rejected before it takes time or memory."""

import os
import zipfile
from pathlib import Path

import pytest
import torch

from lenet5 import UserError
from lenet5.data.tensors import load_tensors, save_tensors
from tests.project import Project


def test_a_file_is_checked_before_it_takes_memory(tmp_path: Path) -> None:
    pipe, zeros, shared, large = (tmp_path / name for name in ("pipe.pt", "zeros.pt", "shared.pt", "large.pt"))
    os.mkfifo(pipe)
    with zipfile.ZipFile(zeros, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(2**20))
    with zipfile.ZipFile(shared, "w") as archive:
        archive.writestr("archive/data/0", bytes(1000))
        entry = archive.infolist()[0]
        archive.filelist.extend([entry] * 9)
    save_tensors(large, torch.zeros(1000))
    assert load_tensors(large).shape == (1000,)
    for path, reason in ((pipe, "not a regular file"), (zeros, "compressed"), (shared, "larger than its file")):
        with pytest.raises(UserError, match=f"{path.name} is damaged or was not written by this project \\({reason}"):
            load_tensors(path)
    with pytest.raises(UserError, match="bytes, where at most 1000 are possible"):
        load_tensors(large, largest=1000)


def test_a_saved_subset_does_not_hold_the_other_images(project: Project) -> None:
    before = (project.root / "data/prepared/test.pt").stat().st_size
    project.change_params(lambda params: params["data"].update(subset=0.5))
    project.run("python", "-m", "stages.prepare")
    assert (project.root / "data/prepared/test.pt").stat().st_size < 0.6 * before
