"""Each fault, in the stage that meets it: it prints an error and fails, and no file is lost or half written."""

import contextlib
import gzip
import hashlib
import os
import pickle
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lenet5.preparation import sources
from tests import stage_process
from tests.project import Project, idx, small_images

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
NO_SOURCE = "The Fashion-MNIST files could not be downloaded. Missing:"


@pytest.fixture
def offline(tmp_path: Path) -> dict[str, str]:
    """An environment in which neither the mirror nor the servers of apt are reachable."""
    config = tmp_path / "apt.conf"
    config.write_text('Dir::Etc::sourcelist "/dev/null";\nDir::Etc::sourceparts "/dev/null";\n')
    return {"http_proxy": "http://127.0.0.1:9", "no_proxy": "", "APT_CONFIG": str(config)}


def fails(project: Project, message: str, stage: str, *arguments: str, **options: Any) -> str:
    """Run a stage that must fail with `message`, and return everything that it printed."""
    ended = stage_process.run(project.root, stage, *arguments, **options)
    assert ended.status == 1, ended.output
    assert message in ended.output
    assert "Traceback" not in ended.output
    assert not list(project.root.rglob("*.partial"))
    return ended.output


def repack(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes()))))


def flip(content: bytes, place: int = -1000) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 1
    return bytes(changed)


def own_files(project: Project, name: str, content: bytes) -> None:
    """Put a file into data/raw and its sha256 into params.yaml."""
    (project.root / f"data/raw/{name}.gz").write_bytes(gzip.compress(content))
    digest = hashlib.sha256(content).hexdigest()
    project.change_params(lambda params: params["data"]["sha256"].update({name: digest}))


def change_raw(change: Callable[[bytes], bytes], project: Project) -> None:
    path = project.root / f"data/raw/{TRAIN_IMAGES}.gz"
    path.write_bytes(change(path.read_bytes()))


def replace_by_test_images(project: Project) -> None:
    raw = project.root / "data/raw"
    shutil.copy(raw / f"{TEST_IMAGES}.gz", raw / f"{TRAIN_IMAGES}.gz")


def replace_by_a_folder(project: Project) -> None:
    (project.root / f"data/raw/{TRAIN_IMAGES}").mkdir()


def replace_by_a_dangling_link(project: Project) -> None:
    path = project.root / f"data/raw/{TRAIN_IMAGES}.gz"
    path.unlink()
    path.symlink_to("elsewhere.gz")


def remove_a_label(project: Project) -> None:
    own_files(project, TRAIN_LABELS, idx(small_images(299, 0)[1]))


def replace_by_html(project: Project) -> None:
    own_files(project, TRAIN_LABELS, b"<html>")


def remove_the_last_byte(project: Project) -> None:
    own_files(project, TRAIN_LABELS, idx(small_images(300, 0)[1])[:-1])


RAW_FAULTS: dict[str, tuple[Callable[[Project], None], str]] = {
    "truncated": (partial(change_raw, lambda content: content[:1000]), "is a damaged gzip file (Compressed file ended"),
    "damaged gzip": (partial(change_raw, flip), "is a damaged gzip file ("),
    "one bit flipped": (
        lambda project: repack(project.root / f"data/raw/{TRAIN_IMAGES}.gz", flip),
        "train-images-idx3-ubyte.gz is damaged or belongs to another data set: train-images-idx3-ubyte.gz has 235216",
    ),
    "empty": (partial(change_raw, lambda _: b""), "has 0 bytes and the sha256"),
    "another data set": (replace_by_test_images, "is damaged or belongs to another data set"),
    "a folder": (replace_by_a_folder, f"Cannot read data/raw/{TRAIN_IMAGES}: Is a directory"),
    "a dangling link": (replace_by_a_dangling_link, f"Cannot read data/raw/{TRAIN_IMAGES}.gz: No such file"),
    "fewer labels than images": (
        remove_a_label,
        "train-images-idx3-ubyte has 300 images, but train-labels-idx1-ubyte has 299 labels",
    ),
    "not IDX": (replace_by_html, f"{TRAIN_LABELS} is not an IDX file"),
    "shorter than its header requires": (
        remove_the_last_byte,
        "is 307 bytes long, but its header requires 308",
    ),
}


@pytest.mark.parametrize("fault", RAW_FAULTS)
def test_a_wrong_raw_file_is_rejected_and_left_unchanged(
    fault: str, new_project: Project, offline: dict[str, str]
) -> None:
    damage, message = RAW_FAULTS[fault]
    damage(new_project)
    before = new_project.files("data/raw/*")
    fails(new_project, message, "prepare", environment=offline)
    assert new_project.files("data/raw/*", "data/prepared/*") == before


def test_dvc_repro_prints_the_error_for_a_wrong_raw_file(new_project: Project) -> None:
    change_raw(flip, new_project)
    card = new_project.root / "data/README.md"
    card.write_text("the card of an earlier run\n")
    result = new_project.dvc("repro", "prepare", check=False)
    assert result.returncode != 0
    assert "is a damaged gzip file" in result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert not (new_project.root / "data/prepared").exists()
    assert card.exists()


class Mirror(BaseHTTPRequestHandler):
    """Stands in for the mirror, as a proxy. `answer` responds in one of the ways in which servers fail."""

    answer: Callable[["Mirror"], None]

    def do_GET(self) -> None:
        type(self).answer(self)

    def send(self, content: bytes, status: int = 200, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def send_forever(request: Mirror) -> None:
    request.send(b"", length=2**40)
    with contextlib.suppress(OSError):
        while True:
            request.wfile.write(bytes(2**20))


def send_nothing(request: Mirror) -> None:
    threading.Event().wait(timeout=3)


def shorten_the_timeout() -> None:
    sources.SOCKET_TIMEOUT = 0.5


ANSWERS: dict[str, tuple[Callable[[Mirror], None], str]] = {
    "404": (lambda request: request.send(b"", 404), "HTTP Error 404"),
    "an HTML page": (lambda request: request.send(b"<html>Log in</html>"), "idx3-ubyte has 19 bytes and the sha256"),
    "wrong bytes": (
        lambda request: request.send(gzip.compress(bytes(1000))),
        "idx3-ubyte has 1000 bytes and the sha256",
    ),
    "half of the file": (
        lambda request: request.send(bytes(1000), length=2000),
        "idx3-ubyte has 1000 bytes and the sha256",
    ),
    "not HTTP": (lambda request: (request.wfile.write(b"\0\r\n"), None)[1], "http://fashion-mnist"),
    "no end": (send_forever, "sent more than 67108864 bytes"),
    "nothing": (send_nothing, "timed out"),
}


@contextlib.contextmanager
def mirror(answer: Callable[[Mirror], None]) -> Iterator[dict[str, str]]:
    """Yield the environment in which downloads go to a mirror that answers like this."""
    handler = type("Handler", (Mirror,), {"answer": staticmethod(answer)})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield {"http_proxy": f"http://127.0.0.1:{server.server_port}"}
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_bad_download_is_discarded_and_alternatives_listed(
    answer: str, new_project: Project, offline: dict[str, str]
) -> None:
    path = new_project.root / f"data/raw/{TRAIN_IMAGES}.gz"
    path.unlink()
    before = new_project.files("data/raw/*")
    respond, reason = ANSWERS[answer]
    with mirror(respond) as proxy:
        printed = fails(new_project, reason, "prepare", before=shorten_the_timeout, environment=offline | proxy)
    assert NO_SOURCE in printed
    assert f"  data/raw/{TRAIN_IMAGES}.gz   (or unpacked, without .gz)\n" in printed
    assert f"data/raw/{TRAIN_LABELS}" not in printed
    assert new_project.files("data/raw/*", "data/prepared/*") == before


def test_without_a_source_the_error_lists_files_and_remedies(new_project: Project, offline: dict[str, str]) -> None:
    shutil.rmtree(new_project.root / "data/raw")
    printed = fails(new_project, NO_SOURCE, "prepare", environment=offline)
    assert printed.count("(or unpacked, without .gz)") == 4
    assert all(f"  {number}. " in printed for number in (1, 2, 3))


def test_a_raw_file_has_any_size_and_a_name_of_any_mirror(new_project: Project, offline: dict[str, str]) -> None:
    raw = new_project.root / "data/raw"
    own_files(new_project, TRAIN_IMAGES, idx(np.zeros((90_000, 28, 28), dtype=np.uint8)))  # too many to be downloaded
    own_files(new_project, TRAIN_LABELS, idx(np.zeros(90_000, dtype=np.uint8)))
    new_project.change_params(lambda params: params["data"].update(subset=0.1))
    for path in raw.iterdir():
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    (raw / "t10k-labels.idx1-ubyte").write_bytes(gzip.decompress((raw / "t10k-labels.idx1-ubyte.gz").read_bytes()))
    (raw / "t10k-labels.idx1-ubyte.gz").unlink()
    before = new_project.files("data/raw/*")
    ended = stage_process.run(new_project.root, "prepare", environment=offline)
    assert ended.status == 0, ended.output
    assert "train: 7200 images" in ended.output

    (raw / "train-images.idx3-ubyte.gz").rename(raw / "emnist-images.gz")
    printed = fails(new_project, NO_SOURCE, "prepare", environment=offline)
    assert f"  data/raw/{TRAIN_IMAGES}.gz " in printed
    assert "Present, but with other names: emnist-images.gz\n" in printed
    assert sorted(new_project.files("data/raw/*").values()) == sorted(before.values())


def test_a_gzip_file_unpacks_to_the_size_in_its_header_at_most() -> None:
    bomb = gzip.compress(idx(np.zeros((300, 28, 28), dtype=np.uint8)) + bytes(10**8))
    with pytest.raises(OSError, match="it unpacks to more than 235216 bytes"):
        sources.gunzip(bomb, limit=sys.maxsize)
    with pytest.raises(OSError, match=f"it unpacks to more than {sources.MAX_BYTES} bytes"):
        sources.gunzip(gzip.compress(b"\0\0\x08\x03" + b"\xff" * 12 + bytes(10**8)), limit=sources.MAX_BYTES)


@dataclass(frozen=True)
class DebianFolder:
    """Pretends that Debian's package is installed, with its files in this folder."""

    folder: Path

    def __call__(self) -> None:
        sources.DEBIAN_FOLDER = self.folder


def test_debians_package_is_used_when_the_mirror_fails(
    new_project: Project, tmp_path: Path, offline: dict[str, str]
) -> None:
    files = new_project.files("data/raw/*")
    shutil.move(new_project.root / "data/raw", tmp_path / "package")
    before = DebianFolder(tmp_path / "package")
    ended = stage_process.run(new_project.root, "prepare", before=before, environment=offline)
    assert ended.status == 0, ended.output
    assert "Fashion-MNIST: the mirror failed: " in ended.output
    assert "4 files from Debian's package" in ended.output
    assert new_project.files("data/raw/*") == files


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """Mount something at `folder` for a while. Skips the test where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0 or subprocess.run(["mount", *options, folder], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def full_disk(folder: Path) -> contextlib.AbstractContextManager[None]:
    return mounted(folder, "-t", "tmpfs", "-o", "size=4k", "none")


@pytest.mark.parametrize(
    ("folder", "stage"),
    [
        ("data/raw", ["prepare"]),
        ("data/prepared", ["prepare"]),
        (".checkpoints", ["train", "dropout"]),
        ("models", ["train", "dropout"]),
        ("metrics/curves", ["train", "dropout"]),
        ("logs", ["train", "dropout"]),
        ("metrics/evaluation", ["evaluate", "dropout"]),
    ],
)
def test_a_stage_reports_a_full_disk_and_succeeds_with_space(
    folder: str, stage: list[str], project: Project, tmp_path: Path, offline: dict[str, str]
) -> None:
    results = ("data/prepared/*", "models/*", "metrics/**/*")
    before = project.files(*results)
    options: dict[str, Any] = {"environment": offline}
    if folder == "data/raw":
        shutil.move(project.root / "data/raw", tmp_path / "package")
        options["before"] = DebianFolder(tmp_path / "package")
    with full_disk(project.root / folder):
        (project.root / folder / "filling").write_bytes(bytes(4096))
        fails(project, f"Cannot write {folder}/", *stage, **options)
        written = {path for path in (project.root / folder).rglob("*") if path.is_file() and path.stat().st_size}
        assert written == {project.root / folder / "filling"}
    assert stage_process.run(project.root, *stage, **options).status == 0
    assert project.files(*results) == before


def test_every_stage_reports_a_read_only_folder(project: Project) -> None:
    with mounted(project.root, "--bind", str(project.root)):
        subprocess.run(["mount", "-o", "remount,ro,bind", project.root], check=True)
        for stage in ("check", "prepare", "train dropout", "evaluate dropout", "summary", "plot", "select", "theory"):
            printed = fails(project, "Cannot write ", *stage.split())
            assert ": Read-only file system. Fix the permissions, then run again." in printed


class Exploit:
    """A pickle that creates a folder when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("exploited",)


def save_exploit(path: Path) -> None:
    torch.save({"state_dict": Exploit()}, path)


def save_plain_exploit(path: Path) -> None:
    path.write_bytes(pickle.dumps(Exploit()))


def save_other_model(path: Path) -> None:
    torch.save(
        {"arguments": {"batch_norm": True, "dropout": 0.0}, "state_dict": torch.nn.Linear(2, 2).state_dict()}, path
    )


def change_a_weight(path: Path) -> None:
    content = torch.load(path, weights_only=True)
    content["state_dict"]["output.bias"][0] += 1
    torch.save(content, path)


def damage(change: Callable[[bytes], bytes], path: Path) -> None:
    path.write_bytes(change(path.read_bytes()))


MODEL_FAULTS: dict[str, Callable[[Path], None]] = {
    "absent": Path.unlink,
    "empty": partial(damage, lambda _: b""),
    "truncated": partial(damage, lambda content: content[: len(content) // 2]),
    "one bit flipped": partial(damage, lambda content: flip(content, len(content) // 2)),
    "a pickle that runs code": save_plain_exploit,
    "an archive that runs code": save_exploit,
    "another model": save_other_model,
    "edited weights": change_a_weight,
}


def test_damaged_or_malicious_model_files_are_rejected(project: Project) -> None:
    path = project.root / "models/dropout.pt"
    whole, before = path.read_bytes(), project.files("metrics/**/*")
    for name, damage_file in MODEL_FAULTS.items():
        path.write_bytes(whole)
        damage_file(path)
        printed = fails(project, "models/dropout.pt", "evaluate", "dropout")
        assert "`dvc repro`" in printed, name
        assert not (project.root / "exploited").exists()
    assert project.files("metrics/**/*") == before


def test_damaged_prepared_images_are_rejected(project: Project) -> None:
    path = project.root / "data/prepared/test.pt"
    path.write_bytes(flip(path.read_bytes(), 5000))
    for stage in ("train", "evaluate"):
        fails(project, "data/prepared/test.pt is damaged", stage, "dropout")


def test_make_trains_the_others_when_one_technique_diverges(project: Project) -> None:
    project.call_environment_ready()

    def change(params: Any) -> None:
        params["techniques"].insert(0, "wild", {"learning_rate": 1e6})
        params["techniques"]["after"] = {"epochs": 1}

    project.change_params(change)
    failed = project.run("make", "reproduce", "JOBS=1", check=False)
    assert failed.returncode != 0
    assert (project.root / "metrics/evaluation/after.json").exists()
    assert not (project.root / "models/wild.pt").exists()
    assert "wild: the sum of the losses became" in failed.stdout  # at that moment
    assert "wild: the sum of the losses became" in failed.stderr  # and again at the end


def test_a_diverging_run_fails_and_keeps_no_model(project: Project) -> None:
    project.change_params(lambda params: params["techniques"]["dropout"].update(learning_rate=1e6))
    (project.root / "models/dropout.pt").unlink()
    printed = fails(project, "dropout: the sum of the losses became ", "train", "dropout")
    assert "Lower its learning_rate (now 1000000.0) in params.yaml." in printed
    assert not (project.root / "models/dropout.pt").exists()


EVALUATION, CURVE, PREDICTED, SUMMARY = (
    f"metrics/{path}"
    for path in ("evaluation/dropout.json", "curves/dropout.csv", "predictions/dropout.csv", "summary.json")
)
DAMAGED_RESULTS: dict[str, tuple[str, Callable[[bytes], bytes], tuple[str, ...]]] = {
    "an empty evaluation": (EVALUATION, lambda _: b"", ("summary",)),
    "half of an evaluation": (EVALUATION, lambda content: content[: len(content) // 2], ("summary",)),
    "an evaluation that is a list": (EVALUATION, lambda _: b"[]", ("summary",)),
    "an evaluation without a loss": (EVALUATION, lambda content: content.replace(b"test_loss", b"lost"), ("summary",)),
    "an evaluation with NaN": (EVALUATION, lambda content: content.replace(b'uracy": ', b'uracy": NaN, "x": '),
        ("summary",)),
    "an evaluation that is not text": (EVALUATION, lambda content: b"\xff" + content, ("summary",)),
    "an evaluation without classes": (EVALUATION, lambda content: content.replace(b'"test_accuracy_by_class": [',
        b'"test_accuracy_by_class": [], "x": ['), ("summary",)),
    "half of the summary": (SUMMARY, lambda content: content[: len(content) // 2], ("plot",)),
    "a summary without a name": (SUMMARY, lambda content: content.replace(b'"technique"', b'"name"', 1), ("plot",)),
    "empty predictions": (PREDICTED, lambda _: b"", ("summary", "plot")),
    "half of the predictions": (PREDICTED, lambda content: content[: len(content) // 2], ("summary", "plot")),
    "predictions without the last row": (PREDICTED, lambda content: b"\n".join([*content.split(b"\n")[:-2], b""]),
        ("summary", "plot")),
    "predictions of a class 17": (PREDICTED, lambda content: content.replace(b"\n0,", b"\n0,17"), ("summary", "plot")),
    "an empty curve": (CURVE, lambda _: b"", ("plot",)),
    "the first epoch of a curve": (CURVE, lambda content: b"\n".join([*content.split(b"\n")[:2], b""]), ("plot",)),
    "a curve without its header": (CURVE, lambda content: content.partition(b"\n")[2], ("plot",)),
    "binary data in a curve": (CURVE, lambda content: content + b"\0,\0\n", ("plot",)),
}  # fmt: skip


@pytest.mark.parametrize("fault", DAMAGED_RESULTS)
def test_a_damaged_results_file_is_named_and_changes_nothing(fault: str, project: Project) -> None:
    name, damage, stages = DAMAGED_RESULTS[fault]
    path = project.root / name
    path.write_bytes(damage(path.read_bytes()))
    before = project.files("metrics/**/*")
    for stage in stages:
        output = fails(project, f"{name} is damaged: ", stage)
        assert "Run `dvc repro` to compute it again." in output
        assert len(output.splitlines()) == 1, output
    assert project.files("metrics/**/*") == before


def test_a_failed_stage_names_the_command_that_restores(project: Project) -> None:
    project.commit("results")
    before = project.files("metrics/**/*")
    path = project.root / "metrics/predictions/dropout.csv"
    path.write_text("image\n")
    for stage, deleted in (("summary", {"csv", "json", "md"}), ("plot", {"png"})):
        failed = project.dvc("repro", "--single-item", stage, check=False)
        (command,) = re.findall("run: (git checkout -- .*)", failed.stderr)
        assert {name.rpartition(".")[2] for name in command.split()[3:]} == deleted
        project.run("sh", "-c", f"cd stages && {command}")
        assert project.files("metrics/**/*") == before | {"metrics/predictions/dropout.csv": b"image\n"}
    path.write_bytes(before["metrics/predictions/dropout.csv"])
    project.dvc("status", "--quiet")
