"""The fingerprint: a change of the code outdates the replicates that it affects, and no other change does."""

import os
import re
from typing import Any

import pytest

from lenet5.support.params import load_params
from replication.replicate import SHORT_EPOCHS, SHORT_IMAGES
from tests.conftest import ROOT
from tests.project import IMAGE_FILES, Project, longer_runs
from tests.replication.replicates import TECHNIQUES, outdated, replicate

FINGERPRINT = "metrics/fingerprint.json"


def names(*techniques: str) -> set[str]:
    """Return the names of the replicates of these techniques in the small replication."""
    stages = ("replicate", "control")
    return {f"{stage}@{technique}-{seed}" for stage in stages for technique in techniques for seed in (0, 1)}


def edit(project: Project, path: str, pattern: str, replacement: str) -> None:
    """Replace the first match of the pattern in a source file. A pattern that matches nothing fails the test."""
    text, count = re.subn(pattern, replacement, (project.root / path).read_text(), count=1)
    assert count == 1, f"{path}: {pattern}"
    (project.root / path).write_text(text)


def test_a_changed_comment_keeps_every_replicate_valid(replicated: Project) -> None:
    before = replicated.read(FINGERPRINT)
    edit(replicated, "lenet5/training/loop.py", r"\Z", "\n# A new comment.\n")
    edit(replicated, "lenet5/network/native/convolution.h", r"\A", "/* A new comment. */\n")
    assert replicated.stages_run("replication/dvc.yaml:fingerprint") == {"replication/dvc.yaml:fingerprint"}
    assert replicated.read(FINGERPRINT) == before
    assert outdated(replicated) == set()
    assert "0 replicates to compute" in replicate(replicated)


CHANGES = {
    "Adam's epsilon": ("lenet5/training/optimizer.py", r'"fused": True', '"fused": True, "eps": 1e-7', TECHNIQUES),
    "the seed of the dropout masks": ("lenet5/training/loop.py", '"dropout", epoch', '"masks", epoch', ("dropout",)),
    "the order of the sums in a convolution": (
        "lenet5/network/native/convolution.h",
        r"for \(int channel = 0; channel < in\.channels; channel\+\+\)",
        "for (int channel = in.channels - 1; channel >= 0; channel--)",
        TECHNIQUES,
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_a_bit_outdates_the_affected_techniques(change: str, replicated: Project) -> None:
    path, pattern, replacement, affected = CHANGES[change]
    edit(replicated, path, pattern, replacement)
    replicated.run("python", "-m", "replication.fingerprint")
    assert outdated(replicated) == names(*affected)


def test_an_extended_plan_keeps_the_existing_replicates(replicated: Project) -> None:
    confirmation: dict[str, Any] = {"planned": 2, "seeds": [8], "longer": longer_runs()}
    replicated.change_plan(seeds=[0, 1, 7], techniques=[*TECHNIQUES, "batch_norm"], confirmation=confirmation)
    replicated.run("python", "-m", "replication.fingerprint")
    new = {"replicate@baseline-7", "replicate@dropout-7", "replicate@batch_norm-7"} | names("batch_norm")
    new |= {f"confirm@{name}-{rate}-8" for name in (*TECHNIQUES, "batch_norm") for rate in (0.001, 0.01)}
    assert outdated(replicated) == new
    confirmation |= {"seeds": [], "longer": longer_runs() | {"learning_rate": 0.001}}
    changes = {"seeds": [0, 1], "techniques": list(TECHNIQUES), "confirmation": confirmation}
    replicated.change_plan(**changes, learning_rate=0.02)
    replicated.run("python", "-m", "replication.fingerprint")
    assert outdated(replicated) == {name for name in names(*TECHNIQUES) if name.startswith("replicate@")}


def test_the_fingerprint_is_the_same_again_and_on_one_core(replicated: Project) -> None:
    before = replicated.read(FINGERPRINT)
    core = str(min(os.sched_getaffinity(0)))
    replicated.run("taskset", "--cpu-list", core, "python", "-m", "replication.fingerprint")
    assert replicated.read(FINGERPRINT) == before


def test_a_fingerprint_includes_a_last_batch_that_is_not_full() -> None:
    params = load_params(ROOT / "params.yaml")
    small = round(IMAGE_FILES["train-images-idx3-ubyte"] * (1 - params.data.validation_fraction))
    for count in (SHORT_IMAGES[0], small):
        assert count > params.train.batch_size
        assert count % params.train.batch_size > 1
    assert SHORT_EPOCHS > 1
