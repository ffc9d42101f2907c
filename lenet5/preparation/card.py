"""The data card, data/README.md: what the prepared images are. A pure function."""

from tabulate import tabulate

from lenet5.data.dataset import Data
from lenet5.support.params import DataSettings

FASHION_MNIST = "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"  # sha256 of its training images

ORIGIN = """\
Fashion-MNIST ([Xiao, Rasul and Vollgraf 2017](https://arxiv.org/abs/1708.07747)): Zalando's product photographs as grey
images of 28x28 pixels. [zalandoresearch/fashion-mnist](https://github.com/zalandoresearch/fashion-mnist) publishes them
under the MIT licence, copyright 2017 Zalando SE. `prepare` downloads them from the mirror that torchvision uses, or
takes them from Debian's package `dataset-fashion-mnist`.
"""

PROBLEMS = """\
- **Near-duplicates.** Some test images are nearly equal to a training image, which makes test accuracies too high
  ([Geier 2019](https://arxiv.org/abs/1906.08255)). They are kept here.
- **Label errors.** Some images have a wrong label or show no recognisable article; [Müller and Markert
  2019](https://arxiv.org/abs/1912.05283) show 64 of the training images. They are kept here.
- **Classes that look alike.** People without training in fashion classify 83.5 % of 1,000 test images correctly
  ([benchmark of the data set](https://github.com/zalandoresearch/fashion-mnist#benchmark)).
- **One kind of picture.** Each image shows one article of one shop on a plain background.
"""

UNKNOWN = """\
These files are not Fashion-MNIST. Describe their origin, licence and problems in `lenet5/preparation/card.py`.
"""


def data_card(data: Data, settings: DataSettings) -> str:
    """Return the data card, in Markdown: origin, files, sizes of splits and classes, and known problems."""
    known = settings.sha256.train_images == FASHION_MNIST
    files = [[f"`{name}`", f"`{digest}`"] for name, digest in settings.sha256.model_dump(by_alias=True).items()]
    names = settings.class_names
    counts = [split.labels.bincount(minlength=len(names)).tolist() for split in data]
    classes = [[name, *(f"{count:,}" for count in row)] for name, *row in zip(names, *counts, strict=True)]
    classes.append(["all", *(f"{sum(row):,}" for row in counts)])
    equal = identical_images(data)
    identical = f"{equal} images equal an earlier one" if equal else "No two images are equal"
    part = "" if settings.subset == 1 else f" Only the first {100 * settings.subset:g} % of the images are used."
    return "\n".join(
        [
            "# Data card\n",
            "The stage `prepare` writes this file. `dvc repro prepare` creates `data/raw` and `data/prepared`.\n",
            "## Origin and licence\n",
            ORIGIN if known else UNKNOWN,
            "The sha256 digests of the uncompressed files identify the data set; other files are rejected:\n",
            _table(["file", "sha256"], files),
            "## Splits and classes\n",
            f"{100 * settings.validation_fraction:g} % of the training images, drawn with seed {settings.split_seed}, "
            f"are held out for validation.{part}",
            "The files in `data/prepared` hold uint8 images, padded with zeros from 28x28 to 32x32, and int64 labels "
            "from 0.\n",
            _table(["class", *data._fields], classes),
            "## Known problems\n",
            f"- **Identical images.** {identical}, pixel by pixel.",
            PROBLEMS if known else "",
        ]
    )


def identical_images(data: Data) -> int:
    """Return how many images of all splits equal an earlier one."""
    images = [image.tobytes() for split in data for image in split.images.numpy()]
    return len(images) - len(set(images))


def _table(header: list[str], rows: list[list[str]]) -> str:
    alignment = ["left", *["right"] * (len(header) - 1)]
    text: str = tabulate(rows, header, tablefmt="pipe", colalign=alignment, disable_numparse=True)
    return text + "\n"
