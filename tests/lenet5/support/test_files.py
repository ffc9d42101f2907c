"""Atomic writing of files."""

import multiprocessing
import os
import platform
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lenet5.support.files import write_atomically
from tests import stage_process
from tests.project import Project
from tests.test_resume import DieAtWrite


def write_often(path: Path, content: bytes) -> None:
    os.fsync = lambda _: None  # type: ignore[assignment]  # a race of 800 writes, whatever the disk
    for _ in range(200):
        write_atomically(path, content)


def in_threads(path: Path, contents: tuple[bytes, ...]) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(write_often, [path] * len(contents), contents))


def test_processes_and_threads_can_write_the_same_file(tmp_path: Path) -> None:
    path, contents = tmp_path / "params.valid", (b"one", b"another")
    start = multiprocessing.get_context("fork").Process
    processes = [start(target=in_threads, args=(path, contents)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_deletes_what_processes_that_ended_left_behind(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    machine = platform.node()
    left_behind = [f".a.csv.{machine}-{ended.pid}.partial", f".c.csv.{machine}-{10**30}.partial"]
    # Of a running process, of another machine, such as a container, and of nobody
    others = {f".b.csv.{machine}-1.partial", f".a.csv.x{machine}-{ended.pid}.partial", ".mine.partial"}
    for name in (*left_behind, *others):
        (tmp_path / name).touch()
    write_atomically(tmp_path / "b.csv", b"content")
    assert {path.name for path in tmp_path.iterdir()} == {"b.csv", *others}


def test_what_a_killed_write_leaves_behind_makes_nothing_stale(project: Project) -> None:
    for stage, folder in (("train dropout", "metrics/curves"), ("summary", "metrics"), ("prepare", "data/prepared")):
        ended = stage_process.run(project.root, *stage.split(), before=DieAtWrite(2))
        assert ended.status == -signal.SIGKILL, ended.output
        assert list((project.root / folder).glob(".*.partial")), stage
    project.dvc("status", "--quiet")
    assert ".partial" not in project.run("git", "status", "--porcelain", "--untracked-files=all").stdout
