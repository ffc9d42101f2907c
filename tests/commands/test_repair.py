"""What a kill leaves in DVC's files does not stop the next command: it is repaired, and every result stays the same."""

import json
import os
import re
import shutil
import time

import pytest

from commands import pipeline
from commands.repair import LOCK_FILES
from lenet5 import UserError
from tests.conftest import ROOT
from tests.project import Command, Project, yaml

REPAIR = ("python", "-m", "commands.repair")
RESULTS = ("dvc.lock", "models/*", "metrics/**/*")


@pytest.fixture
def computed(project: Project) -> Project:
    """A small study whose results are committed."""
    project.call_environment_ready()
    project.commit("results")
    return project


def reproduce(project: Project) -> str:
    """Return what `make reproduce` prints."""
    printed = project.run("make", "reproduce").stdout
    assert "Traceback" not in printed
    return printed


def wait_for(text: str, command: Command) -> None:
    while text not in command.printed():
        assert command.running(), command.printed()
        time.sleep(0.05)


def test_the_lock_file_of_every_pipeline_is_checked() -> None:
    pipelines = [ROOT / "dvc.yaml", *ROOT.glob("replication/**/dvc.yaml")]
    assert {ROOT / path for path in LOCK_FILES} == {path.with_name("dvc.lock") for path in pipelines}


def test_a_damaged_lock_file_is_restored_from_the_last_commit(computed: Project) -> None:
    before = computed.files(*RESULTS)
    lock = computed.root / "dvc.lock"
    whole = lock.read_bytes()
    for damaged in (b"", whole[:-30], b"\xff\x00", b"<<<<<<< HEAD\n" + whole):
        lock.write_bytes(damaged)
        assert "dvc.lock was damaged; restored it from the last commit." in computed.run(*REPAIR).stdout
        assert computed.read("dvc.lock") == whole
        shutil.rmtree(computed.root / ".checkpoints")
    lock.write_bytes(whole[:1000])
    printed = reproduce(computed)
    assert computed.stages_in(printed) == set()
    assert computed.files(*RESULTS) == before
    assert computed.run("git", "status", "--porcelain").stdout == ""


def test_a_damaged_lock_file_is_restored_from_a_later_copy(computed: Project) -> None:
    computed.change_params(lambda params: params.update(selected="dropout"))
    assert computed.stages_in(reproduce(computed)) == {"check", "select"}
    lock = computed.read("dvc.lock")
    (computed.root / "dvc.lock").write_bytes(b"")
    assert "restored it from a copy" in computed.run(*REPAIR).stdout
    assert computed.read("dvc.lock") == lock


def test_a_damaged_lock_file_without_a_good_one_is_replaced(new_project: Project) -> None:
    (new_project.root / "dvc.lock").write_bytes(b"schema:")
    assert "DVC writes a new one" in new_project.run(*REPAIR).stdout
    assert new_project.stages_run("check") == {"check"}
    assert b"check:" in new_project.read("dvc.lock")


def test_damaged_entries_of_the_run_cache_are_deleted(computed: Project) -> None:
    entries = list((computed.root / ".dvc/cache/runs").glob("*/*/*"))
    for place, entry in enumerate(entries):
        text = entry.read_bytes()
        entry.write_bytes(text[: text.index(b"outs:")] if place % 2 else text[: len(text) // 2])
    for folder in (computed.root / ".dvc/cache/runs").glob("*/*"):
        (folder.parent / folder.name[::-1]).mkdir()
    lock = computed.read("dvc.lock")
    (computed.root / "dvc.lock").unlink()
    printed = computed.run(*REPAIR).stdout
    assert printed.count("an entry of DVC's run cache, was damaged; deleted it.") == len(entries) > 0
    assert list((computed.root / ".dvc/cache/runs").glob("*/*")) == []
    (computed.root / "dvc.lock").write_bytes(lock)
    assert computed.stages_run() == set()


def test_a_damaged_entry_next_to_an_intact_one_is_reported(computed: Project) -> None:
    intact = next((computed.root / ".dvc/cache/runs").glob("*/*/*"))
    damaged = intact.with_name(64 * "0")
    damaged.write_bytes(intact.read_bytes())
    assert "Nothing is damaged." not in computed.run(*REPAIR).stdout
    assert intact.exists() and not damaged.exists()
    assert computed.run(*REPAIR).stdout == "Nothing is damaged.\n"


def test_a_damaged_object_of_the_cache_is_not_believed(computed: Project) -> None:
    before = computed.files(*RESULTS)
    outs = yaml.load(computed.root / "dvc.lock")["stages"]["train@dropout"]["outs"]
    [digest] = [out["md5"] for out in outs if out["path"] == "models/dropout.pt"]
    stored = computed.root / f".dvc/cache/files/md5/{digest[:2]}/{digest[2:]}"
    model = computed.root / "models/dropout.pt"
    flipped = bytearray(before["models/dropout.pt"])
    flipped[5000] ^= 1

    def damage(content: bytes) -> None:
        stored.unlink()
        stored.write_bytes(content)
        stored.chmod(0o444)  # DVC believes what is read-only
        model.unlink()

    (stored.parent / "of-dvc.tmp").mkdir()  # not an object
    damage(b"")
    assert "was damaged; deleted it." in reproduce(computed)
    assert computed.files(*RESULTS) == before
    damage(bytes(flipped))
    computed.dvc("repro", "train@dropout")
    failed = computed.run("python", "-m", "stages.evaluate", "dropout", check=False)
    assert re.search("models/dropout.pt is damaged .* delete it, run `python -m commands.repair`", failed.stderr)
    model.unlink()
    computed.run(*REPAIR)
    computed.dvc("repro", "train@dropout")
    assert computed.files(*RESULTS) == before


def test_a_stale_lock_of_dvc_is_removed(computed: Project) -> None:
    rwlock = computed.root / ".dvc/tmp/rwlock"
    entry = {"pid": os.getpid(), "cmd": "/nowhere/dvc repro train@dropout"}
    write, read = {str(computed.root / "data/prepared"): entry}, {str(computed.root / "models"): [entry]}
    for stale in ("", "{", '{"write": [1]}', json.dumps({"write": write}), json.dumps({"read": read})):
        rwlock.write_text(stale)
        assert computed.dvc("repro", check=False).returncode != 0
        computed.run(*REPAIR)
        assert json.loads(rwlock.read_text()) == {"write": {}, "read": {}}
    rwlock.write_text(json.dumps({"write": write, "read": read}))
    assert computed.stages_in(reproduce(computed)) == set()


def test_dvc_at_work_is_named_and_waited_for(computed: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    code = computed.root / "stages/prepare.py"
    hold = "    import time\n\n    while not Path('.checkpoints/end').exists():\n        time.sleep(0.1)\n"
    code.write_text("from pathlib import Path\n" + code.read_text() + hold)
    other = Command(computed, "dvc", "repro", "prepare", quick=False)
    wait_for("Running stage 'prepare'", other)
    waiting = Command(computed, "make", "reproduce")
    wait_for(f"Waiting for another DVC to end: (PID {other.process.pid}): ", waiting)
    monkeypatch.setattr(pipeline, "PATIENCE", 0)
    monkeypatch.setenv("PATH", computed.environment()["PATH"])
    with pytest.raises(UserError, match=rf"(?s)is busy, .*\(PID {other.process.pid}\).*`dvc repro prepare` failed in"):
        pipeline.dvc("repro", "prepare", folder=computed.root)
    (computed.root / ".checkpoints/end").touch()
    assert waiting.process.wait(timeout=120) == 0, waiting.printed()
    assert other.process.wait() == 0
    assert waiting.printed().count("Waiting for another DVC") == 1
    assert "ERROR" not in waiting.printed()


def test_repair_by_hand_lets_plain_dvc_run_again(computed: Project) -> None:
    assert computed.run(*REPAIR).stdout == "Nothing is damaged.\n"
    (computed.root / "dvc.lock").write_bytes(b"")
    assert computed.dvc("repro", check=False).returncode != 0
    assert "restored it from" in computed.run(*REPAIR).stdout
    assert computed.stages_run() == set()
