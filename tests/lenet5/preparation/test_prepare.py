"""From IDX files to the prepared splits."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lenet5.data.dataset import Split
from lenet5.preparation.prepare import (
    make_split,
    pad,
    read_idx,
    split_training_set,
    take,
    train_validation_indices,
)
from lenet5.support.errors import UserError
from tests.project import idx, small_images


def test_padding_centres_the_image_on_zeros() -> None:
    image = torch.randint(1, 256, (1, 1, 28, 28), dtype=torch.uint8)
    padded = pad(image)
    assert padded.shape == (1, 1, 32, 32)
    assert torch.equal(padded[..., 2:30, 2:30], image)
    assert (padded == 0).sum() == 32 * 32 - 28 * 28


@given(st.integers(2, 400), st.floats(0.01, 0.99), st.integers(0, 2**63 - 1))
def test_the_split_is_disjoint_complete_and_of_the_right_size(count: int, fraction: float, seed: int) -> None:
    held_out = round(count * fraction)
    if not 0 < held_out < count:
        with pytest.raises(UserError, match="validation_fraction"):
            train_validation_indices(count, fraction, seed)
        return
    train, validation = train_validation_indices(count, fraction, seed)
    assert len(validation) == held_out
    assert torch.equal(torch.cat([train, validation]).sort().values, torch.arange(count))


def test_the_split_depends_only_on_its_seed() -> None:
    state = torch.random.get_rng_state()
    first = train_validation_indices(100, 0.2, seed=1)[1]
    torch.rand(3)
    assert torch.equal(first, train_validation_indices(100, 0.2, seed=1)[1])
    assert not torch.equal(first, train_validation_indices(100, 0.2, seed=2)[1])
    torch.random.set_rng_state(state)


def test_images_keep_their_labels_when_they_are_split() -> None:
    images = torch.arange(50, dtype=torch.uint8).view(50, 1, 1, 1)
    for part in split_training_set(Split(images, torch.arange(50)), 0.2, seed=3):
        assert torch.equal(part.images.flatten().long(), part.labels)


def test_a_subset_consists_of_the_first_images() -> None:
    split = Split(torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1), torch.arange(10))
    assert take(split, 0.3).labels.tolist() == [0, 1, 2]
    assert len(take(split, 1.0).labels) == 10


def test_idx_files_are_read_as_they_were_written() -> None:
    images, labels = small_images(5, seed=0)
    assert np.array_equal(read_idx(idx(images), "images").numpy(), images)
    assert np.array_equal(read_idx(idx(labels), "labels").numpy(), labels)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0",
        b"<html>",
        b"\0\0\x08\x01\0\0\0\x05abc",
        b"\0\0\x08\x01\0\0\0\x01abc",
        b"\0\0\x08\x03\0\0\0\0\0\0\0\x1c\0\0\0\x1c",  # no images of 28x28
    ],
)
def test_a_file_that_is_not_idx_is_rejected_by_name(content: bytes) -> None:
    with pytest.raises(UserError, match="labels-file"):
        read_idx(content, "labels-file")


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (
            torch.zeros(3, 28, 28),
            torch.zeros(2),
            "train-images-idx3-ubyte has 3 images, but train-labels-idx1-ubyte has 2 labels",
        ),
        (torch.zeros(3, 27, 28), torch.zeros(3), "N x 28 x 28"),
        (torch.zeros(1, 28, 28), torch.tensor([10]), "label 10"),
    ],
)
def test_images_and_labels_that_do_not_match_are_rejected(
    images: torch.Tensor, labels: torch.Tensor, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        make_split(images, labels, "train")
