"""Prepared splits in files."""

from pathlib import Path

import pytest
import torch

from lenet5.data.dataset import load_class_names, load_data, load_split, save_class_names, save_split
from lenet5.preparation.prepare import make_split
from lenet5.support.errors import UserError
from lenet5.support.params import CLASS_NAMES
from tests.project import small_images


def test_a_split_is_read_as_it_was_saved(tmp_path: Path) -> None:
    images, labels = small_images(4, seed=1)
    split = make_split(torch.from_numpy(images), torch.from_numpy(labels), "train")
    for name in ("train", "validation", "test"):
        save_split(split, name, tmp_path)
    for loaded in (load_split("train", tmp_path), *load_data(tmp_path)):
        assert all(torch.equal(saved, read) for saved, read in zip(split, loaded, strict=True))


def test_class_names_of_an_earlier_data_set_are_not_kept(tmp_path: Path) -> None:
    for names in (CLASS_NAMES[::-1], CLASS_NAMES):
        save_class_names(names, tmp_path)
        assert load_class_names(tmp_path) == names


def test_a_damaged_missing_or_foreign_split_is_rejected_by_name(tmp_path: Path) -> None:
    images, labels = small_images(4, seed=1)
    save_split(make_split(torch.from_numpy(images), torch.from_numpy(labels), "train"), "train", tmp_path)
    path = tmp_path / "train.pt"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"train\.pt is damaged"):
        load_split("train", tmp_path)
    with pytest.raises(UserError, match=r"test\.pt is missing"):
        load_split("test", tmp_path)
    padded, numbers = torch.zeros(2, 1, 32, 32, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)
    for content in (
        {"images": padded},
        {"images": padded, "labels": 1},
        {"images": padded, "labels": numbers[:1]},
        {"images": padded, "labels": numbers.int()},
        {"images": padded[:, 0], "labels": numbers},
        {"images": padded.float(), "labels": numbers},
    ):
        torch.save(content, path)
        with pytest.raises(UserError, match=r"train\.pt does not hold prepared images"):
            load_split("train", tmp_path)


def test_the_digest_depends_on_every_value_shape_and_dtype() -> None:
    images, labels = small_images(4, seed=1)
    split = make_split(torch.from_numpy(images), torch.from_numpy(labels), "train")
    changed = split.images.clone()
    changed[3, 0, 31, 31] += 1
    others = [
        split._replace(images=changed),
        split._replace(images=split.images.flatten(1)),
        split._replace(labels=split.labels.int()),
    ]
    assert len({other.digest() for other in (split, *others)}) == 4
    assert split._replace(images=split.images.clone()).digest() == split.digest()
