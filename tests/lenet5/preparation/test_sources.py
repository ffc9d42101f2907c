"""The files of Fashion-MNIST, compared with torchvision's data set."""

from pathlib import Path

import pytest
import torch

from benchmarks.contenders import torchvision_fashion_mnist
from lenet5.preparation.prepare import make_split, read_idx
from lenet5.preparation.sources import MIRROR, SourceError, _download
from lenet5.support.params import Checksums
from tests.project import idx, small_images

NAMES = [str(field.alias) for field in Checksums.model_fields.values()]


def test_mirror_and_file_names_equal_those_of_torchvision() -> None:
    fashion_mnist = torchvision_fashion_mnist()
    assert fashion_mnist.mirrors == [MIRROR]
    assert sorted(name for name, _ in fashion_mnist.resources) == sorted(f"{name}.gz" for name in NAMES)


@pytest.mark.parametrize("kind", ["train", "t10k"])
def test_torchvision_reads_the_same_images_and_labels(kind: str, tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST/raw"
    raw.mkdir(parents=True)
    contents: dict[str, bytes] = {}
    for prefix, count in (("train", 30), ("t10k", 20)):
        arrays = small_images(count, seed=count)
        for part, array in zip(("images-idx3", "labels-idx1"), arrays, strict=True):
            contents[f"{prefix}-{part}-ubyte"] = idx(array)
    assert sorted(contents) == sorted(NAMES)
    for name, content in contents.items():
        (raw / name).write_bytes(content)
    images, labels = (read_idx(contents[name], name) for name in contents if name.startswith(kind))
    split = make_split(images, labels, "train")
    theirs = torchvision_fashion_mnist()(tmp_path, train=kind == "train")
    assert torch.equal(split.images[:, 0, 2:-2, 2:-2], theirs.data)
    assert torch.equal(split.labels, theirs.targets)


def test_an_invalid_proxy_is_a_fault_of_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http:/localhost:3128")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SourceError, match=r"http://mirror\.invalid: proxy URL"):
        _download("http://mirror.invalid")
