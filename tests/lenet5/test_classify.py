"""Classifying image files with a model of the small data set, in which the height of a bright bar is the class."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from lenet5 import CLASS_NAMES, load_split
from lenet5.classify import main
from tests.project import Project


@pytest.fixture(scope="module")
def model(computed_project: Project) -> Path:
    return computed_project.root / "models/dropout.pt"


@pytest.fixture(scope="module")
def images(computed_project: Project) -> list[Image.Image]:
    """Return the test images of the small project, 28x28, light on black, in order."""
    tensor = load_split("test", computed_project.root / "data/prepared").images
    return [Image.fromarray(image[0, 2:-2, 2:-2].numpy()) for image in tensor]


def most_probable(model: Path, capsys: pytest.CaptureFixture[str], *paths: Path) -> list[tuple[str, float]]:
    """Return the most probable class of each file, with its probability."""
    assert main(["--model", str(model), "--json", *map(str, paths)]) == 0
    results = json.loads(capsys.readouterr().out)
    return [(result["classes"][0]["class"], result["classes"][0]["probability"]) for result in results]


def test_a_saved_test_image_gets_the_evaluated_prediction(
    model: Path,
    images: list[Image.Image],
    computed_project: Project,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(len(images))]
    for image, path in zip(images, paths, strict=True):
        image.save(path)
    predictions = pd.read_csv(computed_project.root / "metrics/predictions/dropout.csv")
    found = most_probable(model, capsys, *paths)
    assert [name for name, _ in found] == [CLASS_NAMES[number] for number in predictions["predicted"]]
    assert [value for _, value in found] == pytest.approx(list(predictions["probability"]), abs=1e-5)


def test_size_colour_background_and_format_do_not_matter(
    model: Path, images: list[Image.Image], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = images[0]
    large = image.resize((560, 560), Image.Resampling.NEAREST)
    rotated = Image.Exif()
    rotated[0x0112] = 6  # the camera was turned: viewers rotate the image by 270 degrees
    variants: dict[str, Image.Image] = {
        "plain.png": image,
        "large.png": large,
        "colour.jpg": ImageOps.colorize(large, "black", "yellow"),
        "palette.gif": large.convert("P"),
        "light.png": ImageOps.invert(large),
        "sixteen-bit.png": Image.fromarray(np.array(image, dtype=np.uint16) * 257),
        "transparent.png": Image.merge("RGBA", (*[Image.new("L", large.size, 0)] * 3, large)),
    }
    for name, variant in variants.items():
        variant.save(tmp_path / name)
    large.rotate(90).save(tmp_path / "turned.jpg", exif=rotated)
    names = [*variants, "turned.jpg"]
    found = most_probable(model, capsys, *(tmp_path / name for name in names))
    assert dict(zip(names, (name for name, _ in found), strict=True)) == dict.fromkeys(names, found[0][0])


def test_a_picture_without_one_object_gets_a_warning(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = {name: Image.new("RGB", (300, 200), "white") for name in ("one.png", "two.png", "none.png")}
    pictures["one.png"].paste("navy", (100, 50, 180, 150))
    pictures["two.png"].paste("navy", (40, 50, 120, 150))
    pictures["two.png"].paste("red", (150, 80, 220, 150))
    for name, picture in pictures.items():
        picture.save(tmp_path / name)
    assert main(["--model", str(model), *(str(tmp_path / name) for name in pictures)]) == 0
    printed = capsys.readouterr()
    assert [line.split(": ")[0] for line in printed.out.splitlines()] == [str(tmp_path / name) for name in pictures]
    assert printed.err.splitlines() == [
        f"Warning: {tmp_path}/two.png seems to show 2 objects; the model expects one.",
        f"Warning: {tmp_path}/none.png shows no object that differs from its background; the model expects one.",
    ]


def damaged_files(folder: Path, seed: int = 0) -> list[Path]:
    """Write pictures in every format that Pillow can write: truncated, overwritten, or with a part cut out."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (24, 24, 3), dtype=np.uint8)
    Image.init()
    paths: list[Path] = []
    for name in sorted(Image.SAVE):
        for mode in ("RGB", "L", "P", "1"):
            content = io.BytesIO()
            try:
                Image.fromarray(pixels).convert(mode).save(content, name)
            except (OSError, ValueError, KeyError):  # this format has no such pixels, or no encoder here
                continue
            for number in range(6):
                damaged = bytearray(content.getvalue())
                start = int(random.integers(min(len(damaged), 200)))  # mostly in headers, where plugins differ
                if number % 3 == 0:
                    del damaged[start + 8 :]
                elif number % 3 == 1:
                    damaged[start : start + 4] = random.bytes(4)
                else:
                    del damaged[start : start + 8]
                paths.append(folder / f"{len(paths)}.{name.lower()}")
                paths[-1].write_bytes(damaged)
    return paths


def test_every_damaged_picture_is_classified_or_reported(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = damaged_files(tmp_path)
    assert len(paths) > 200 and {".avif", ".dds", ".jpeg", ".png", ".tiff"} <= {path.suffix for path in paths}
    assert main(["--model", str(model), *map(str, paths)]) == 1
    printed = capsys.readouterr()
    classified = [line.split(": ")[0] for line in printed.out.splitlines()]
    reported = [line.split(" ")[0] for line in printed.err.splitlines() if not line.startswith("Warning: ")]
    assert len(classified) > 20 and len(reported) > 100
    assert sorted([*classified, *reported]) == sorted(map(str, paths))


def test_an_unreadable_file_is_named_and_others_are_classified(
    model: Path, images: list[Image.Image], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, text, cut, absent = (tmp_path / name for name in ("good.png", "text.png", "cut.png", "absent.png"))
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    odd = tmp_path / os.fsdecode(b"\xff.png")
    floats, whole = tmp_path / "floats.tiff", tmp_path / "whole.tiff"
    Image.fromarray(np.full((28, 28), 0.5, dtype=np.float32)).save(floats)
    Image.fromarray(np.full((28, 28), 99, dtype=np.int32)).save(whole)
    for path in (good, odd):
        images[0].save(path)
    text.write_text("not an image")
    cut.write_bytes(good.read_bytes()[:200])
    assert main(["--model", str(model), *map(str, (text, cut, good, absent, tmp_path, pipe, floats, whole, odd))]) == 1
    printed = capsys.readouterr()
    first, last = printed.out.splitlines()
    assert first.removeprefix(str(good)) == last.removeprefix(f"{tmp_path}/\\udcff.png")
    assert first.startswith(f"{good}: ") and first.count("%") == 3
    lines = printed.err.splitlines()
    assert lines[0] == f"{text} is not an image that Pillow can read."
    assert lines[1].startswith(f"{cut} cannot be read as an image: ")
    assert lines[2] == f"{absent} cannot be read as an image: No such file or directory."
    assert lines[3] == f"{tmp_path} cannot be read as an image: Is a directory."
    assert lines[4] == f"{pipe} cannot be read as an image: it is a pipe or a device."
    for line, path in zip(lines[5:], (floats, whole), strict=True):
        assert line == f"{path} cannot be read as an image: its pixels have 32 bits; save it with 8 or 16 bits."
