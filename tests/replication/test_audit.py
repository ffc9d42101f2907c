"""`make audit`: recompute replicates and compare them with the committed files."""

import json
import re
import subprocess
import time
from pathlib import Path

import pytest

from replication.analysis.plan import load_plan
from replication.analysis.results import read_replicate
from replication.audit import differences
from replication.recipes.plan import load_recipes
from replication.runs import planned
from tests.conftest import ROOT
from tests.project import END, RECIPES, Command, Project, yaml

ALL = 8  # replicates of the plans below


@pytest.fixture
def audited(replicated: Project) -> Project:
    """The replicated project with a part of its plans, committed."""
    replicated.change_plan(techniques=["baseline"])
    search = {"recipes": ["augmented"], "seeds": [4, 5]}
    yaml.dump(RECIPES | {"search": search}, replicated.root / "replication/recipes.yaml")
    replicated.commit("a part of the plans")
    return replicated


def audit(project: Project, count: object) -> subprocess.CompletedProcess[str]:
    before = project.run("git", "status", "--porcelain").stdout, project.files("metrics/**/*", "*")
    result = project.run("make", "--old-file=.venv/ready", "audit", f"N={count}", check=False)
    assert "Traceback" not in result.stderr
    assert (project.run("git", "status", "--porcelain").stdout, project.files("metrics/**/*", "*")) == before
    return result


def test_an_audit_confirms_untouched_replicates(audited: Project) -> None:
    result = audit(audited, ALL)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count(": equal\n") == ALL
    assert f"All {ALL} replicates are what this code computes, to the last digit." in result.stdout


def test_an_audit_names_each_changed_file_and_value(audited: Project) -> None:
    folder = audited.root / "metrics/replicates"

    def tamper(name: str, pattern: str, replacement: str) -> None:
        text, count = re.subn(pattern, replacement, (folder / name).read_text())
        assert count == 1
        (folder / name).write_text(text)

    digest = json.loads((folder / "0.001/baseline-0.json").read_text())["weights_sha256"]
    accuracy = json.loads((folder / "0.01/baseline-0.json").read_text())["test_accuracy"]
    tamper("0.001/baseline-0.json", digest, digest[:-1] + ("0" if digest[-1] != "0" else "1"))
    tamper("0.01/baseline-0.json", r'("test_accuracy": )[\d.]+', rf"\g<1>{accuracy + 0.01}")
    truncated = folder / "0.01/baseline-1.json"
    truncated.write_bytes(truncated.read_bytes()[:-20])
    result = audit(audited, ALL)
    assert result.returncode != 0
    assert "metrics/replicates/0.001/baseline-0.json: different: weights_sha256\n" in result.stdout
    assert (
        "metrics/replicates/0.01/baseline-0.json: invalid: test_accuracy is not that of test_correct\n" in result.stdout
    )
    assert "metrics/replicates/0.01/baseline-1.json: invalid: it is not JSON" in result.stdout
    for name in ("replicates/0.001/baseline-1", "recipes/search/augmented-4", "recipes/final/augmented-7"):
        assert f"metrics/{name}.json: equal\n" in result.stdout
    assert f"3 of {ALL} replicates differ from what this code computes." in result.stderr


@pytest.mark.parametrize("count", ["0", "two"])
def test_an_invalid_number_of_replicates_is_reported(count: str, replicated_project: Project) -> None:
    result = audit(replicated_project, count)
    assert result.returncode != 0
    assert f"argument N: '{count}' is not a whole number of at least 1" in result.stderr


def test_a_missing_replicate_is_reported(replicated: Project) -> None:
    for path in replicated.root.glob("metrics/re*/*/*.json"):
        path.unlink()
    result = audit(replicated, 1)
    assert result.returncode != 0
    assert re.search(r"metrics/(replicates|recipes)/\S+\.json is missing\. Run `make replicate`", result.stderr)
    assert "equal" not in result.stdout


def test_an_old_file_does_not_count_as_computed_anew(replicated: Project) -> None:
    for program in ("replicate", "recipe"):
        (replicated.root / f"replication/{program}.py").write_text("")  # computes nothing
    result = audit(replicated, 1)
    assert result.returncode != 0
    assert re.search(r"metrics/(replicates|recipes)/\S+\.json: No such file or directory", result.stderr)


def test_a_terminated_audit_leaves_no_process_and_no_folder(replicated: Project, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    endless = "import os, time\nopen(os.environ['TMPDIR'] + '/started', 'w').close()\ntime.sleep(600)\n"
    (replicated.root / "replication/replicate.py").write_text(endless)
    command = Command(replicated, "env", f"TMPDIR={temporary}", "make", "--old-file=.venv/ready", "audit", "N=1")
    while not (temporary / "started").exists():
        assert command.running(), command.printed()
        time.sleep(0.02)
    command.process.terminate()
    command.wait(seconds=END)
    assert "Traceback" not in command.printed()
    assert [path.name for path in temporary.iterdir()] == ["started"]


def test_a_difference_is_dated_by_its_first_epoch(replicated_project: Project) -> None:
    path = replicated_project.root / "metrics/replicates/0.01/baseline-0.json"
    other = read_replicate(path)
    other["validation_losses"] = [*other["validation_losses"][:2], 9.0, *other["validation_losses"][3:]]
    other.update(train_loss=9.0, test_loss=9.0, chosen_epoch=99, parameters=9)
    names = "chosen_epoch, parameters, test_loss, train_loss, validation_losses"
    assert differences(path, other) == f"different (from epoch 3): {names}"


def test_verify_audits_the_replicates_of_the_last_commit(replicated: Project) -> None:
    for path in replicated.root.glob("metrics/replicates/*/*.json"):
        path.unlink()
    before = replicated.run("git", "status", "--porcelain").stdout
    printed = replicated.run("python", "-m", "commands.verify", "--replicates", "1").stdout
    assert "Not verified, since not committed: changes of metrics/replicates/" in printed and " and 3 more" in printed
    assert "All 1 replicates are what this code computes, to the last digit." in printed
    assert replicated.run("git", "status", "--porcelain").stdout == before


def test_every_committed_replicate_has_its_planned_path() -> None:
    paths = (ROOT / "replication/params.yaml", ROOT / "replication/recipes.yaml")
    expected = [ROOT / run.path for run in planned(load_plan(paths[0]), load_recipes(paths[1]))]
    committed = (
        path for pattern in ("re*/*/*.json", "confirmation/**/*.json") for path in ROOT.glob(f"metrics/{pattern}")
    )
    assert sorted(expected) == sorted(committed)
