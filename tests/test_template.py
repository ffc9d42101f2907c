"""The README's steps to use this project as a template: another data set, another network."""

import gzip
import hashlib
import json
import re
import shutil
from typing import Any

import numpy as np
import pandas as pd

from tests.project import Project, idx, small_images

CLASSES = 7


def put_other_data_set(project: Project) -> None:
    """Put a data set with 7 classes into data/raw, its sha256 and class names into params.yaml, and the number of its
    classes into lenet5/support/params.py."""
    sha256 = {}
    for seed, (name, count) in enumerate({"train": 300, "t10k": 100}.items()):
        images, labels = small_images(count, seed)
        kept = labels < CLASSES
        for file, array in {"images-idx3-ubyte": images[kept], "labels-idx1-ubyte": labels[kept]}.items():
            sha256[f"{name}-{file}"] = hashlib.sha256(idx(np.array(array))).hexdigest()
            (project.root / f"data/raw/{name}-{file}.gz").write_bytes(gzip.compress(idx(np.array(array))))

    def change(params: Any) -> None:
        params["data"]["sha256"].update(sha256)
        params["data"]["class_names"] = list("abcdefg")
        params["exercise"] = {}
        del params["techniques"]["dropout"], params["techniques"]["weight_decay"]  # two are enough here

    project.change_params(change)
    module = project.root / "lenet5/support/params.py"
    before, _, after = module.read_text().partition("CLASS_NAMES = (")
    module.write_text(f"{before}CLASS_NAMES = {tuple('1234567')}{after[after.index(')') + 1 :]}")


def test_another_data_set_with_seven_classes_is_three_edits(new_project: Project) -> None:
    project = new_project
    put_other_data_set(project)
    shutil.rmtree(project.root / "metrics", ignore_errors=True)
    project.dvc("repro")
    for technique in project.params()["techniques"]:
        metrics = json.loads(project.read(f"metrics/evaluation/{technique}.json"))
        assert [each["class"] for each in metrics["test_accuracy_by_class"]] == list("abcdefg")
        assert metrics["parameters"] in (61_706 - 3 * 85, 61_990 - 3 * 85)
        assert metrics["test_accuracy"] > 2 / CLASSES
        confusion = pd.read_csv(project.root / f"metrics/confusion/{technique}.csv")
        assert len(confusion) == CLASSES**2 and set(confusion["actual"]) == set("abcdefg")
    for card in ("data/README.md", "models/README.md"):
        table = project.read(card).decode().partition("The most frequent confusions")[0]
        assert re.findall(r"^\| (\w) ", table, re.MULTILINE) == list("abcdefg")
    predicted = project.run("python", "-m", "lenet5.classify", "--model", "models/baseline.pt", "metrics/gallery.png")
    assert re.search(r"gallery.png: [a-g] [\d.]+ %", predicted.stdout)


def test_another_network_is_one_file_and_the_torch_backend(project: Project) -> None:
    model = project.root / "lenet5/network/model.py"
    model.write_text(model.read_text().replace("nn.Linear(120, 84)", "nn.Linear(120, 64)").replace("(84,", "(64,"))
    project.change_params(lambda params: params["train"].update(backend="torch"))
    project.dvc("repro", "evaluate@dropout")
    metrics = json.loads(project.read("metrics/evaluation/dropout.json"))
    assert metrics["parameters"] == 61_706 - 20 * 121 - 20 * 10
    predicted = project.run("python", "-m", "lenet5.classify", "--model", "models/dropout.pt", "metrics/gallery.png")
    assert "%" in predicted.stdout
