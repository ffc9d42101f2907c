"""Classifying picture files, with a model trained on bars whose height on the picture is their class."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageOps
from stages.dataset import CLASS_NAMES

from commands.classify import main, read_image
from tests.project import Project


@pytest.fixture(scope="module")
def model(computed_project: Project) -> Path:
    return computed_project.root / "models/dropout.pt"


@pytest.fixture(scope="module")
def pictures(computed_project: Project) -> list[Image.Image]:
    """Test images of the small project, 28x28, light on black, in their order."""
    images = torch.load(computed_project.root / "data/prepared/test.pt", weights_only=True)["images"]
    return [Image.fromarray(image[0, 2:-2, 2:-2].numpy()) for image in images]


def best(model: Path, capsys: pytest.CaptureFixture[str], *paths: Path) -> list[tuple[str, float]]:
    assert main(["--model", str(model), "--json", *map(str, paths)]) == 0
    results = json.loads(capsys.readouterr().out)
    return [(result["classes"][0]["class"], result["classes"][0]["probability"]) for result in results]


def test_a_test_image_saved_as_a_picture_gets_the_prediction_that_was_evaluated(
    model: Path,
    pictures: list[Image.Image],
    computed_project: Project,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(len(pictures))]
    for picture, path in zip(pictures, paths, strict=True):
        picture.save(path)
    predictions = pd.read_csv(computed_project.root / "metrics/predictions/dropout.csv")
    found = best(model, capsys, *paths)
    assert [name for name, _ in found] == [CLASS_NAMES[number] for number in predictions["predicted"]]
    assert [value for _, value in found] == pytest.approx(list(predictions["probability"]), abs=1e-5)


def test_size_colour_background_and_format_do_not_change_the_class(
    model: Path, pictures: list[Image.Image], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = pictures[0]
    large = picture.resize((560, 560), Image.Resampling.NEAREST)
    rotated = Image.Exif()
    rotated[0x0112] = 6  # the camera was turned: show it rotated by 270 degrees
    variants: dict[str, Image.Image] = {
        "plain.png": picture,
        "large.png": large,
        "colour.jpg": ImageOps.colorize(large, "black", "yellow"),
        "palette.gif": large.convert("P"),
        "light.png": ImageOps.invert(large),
        "sixteen-bit.png": Image.fromarray(np.array(picture, dtype=np.uint16) * 257),
        "transparent.png": Image.merge("RGBA", (*[Image.new("L", large.size, 0)] * 3, large)),
    }
    for name, variant in variants.items():
        variant.save(tmp_path / name)
    large.rotate(90).save(tmp_path / "turned.jpg", exif=rotated)
    names = [*variants, "turned.jpg"]
    found = best(model, capsys, *(tmp_path / name for name in names))
    assert dict(zip(names, (name for name, _ in found), strict=True)) == dict.fromkeys(names, found[0][0])


def test_the_proportions_of_a_picture_are_kept(tmp_path: Path) -> None:
    Image.new("L", (300, 150), 100).save(tmp_path / "wide.png")
    expected = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    expected[:, :, 9:23, 2:30] = 100
    assert torch.equal(read_image(tmp_path / "wide.png"), expected)


def test_a_file_that_is_no_image_is_named_and_the_others_are_classified(
    model: Path, pictures: list[Image.Image], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, text, cut, absent = (tmp_path / name for name in ("good.png", "text.png", "cut.png", "absent.png"))
    floats, whole = tmp_path / "floats.tiff", tmp_path / "whole.tiff"
    Image.fromarray(np.full((28, 28), 0.5, dtype=np.float32)).save(floats)
    Image.fromarray(np.full((28, 28), 99, dtype=np.int32)).save(whole)
    pictures[0].save(good)
    text.write_text("not a picture")
    cut.write_bytes(good.read_bytes()[:200])
    assert main(["--model", str(model), *map(str, (text, cut, good, absent, tmp_path, floats, whole))]) == 1
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{good}: ") and printed.out.count("%") == 3
    lines = printed.err.splitlines()
    assert lines[0] == f"{text} is no image that Pillow can read."
    assert lines[1].startswith(f"{cut} cannot be read as an image: ")
    assert lines[2] == f"{absent} cannot be read as an image: No such file or directory."
    assert lines[3] == f"{tmp_path} cannot be read as an image: Is a directory."
    for line, path in zip(lines[4:], (floats, whole), strict=True):
        assert line == f"{path} cannot be read as an image: its pixels have 32 bits; save it with 8 or 16."
