"""Get Fashion-MNIST, pad it to 32x32 and split it: data/raw -> data/prepared/{train,validation,test}.pt."""

import os
from pathlib import Path

from stages.dataset import Split, make_split, read_idx, save_split, split_training_set, take
from stages.errors import UserError
from stages.params import DataSettings, load_params
from stages.paths import RAW
from stages.sources import raw_files


def raw_folder() -> Path:
    """data/raw; in the temporary folder of `dvc exp run --queue` or `--temp`, which lacks what git ignores, that of the
    project itself, which DVC names in DVC_ROOT. So what the project has is not fetched again."""
    shared = Path(os.environ.get("DVC_ROOT", ".")).resolve() / RAW
    return RAW if RAW.exists() or not shared.is_dir() else shared


def prepare(settings: DataSettings) -> dict[str, Split]:
    """Fashion-MNIST, checked, padded and split into "train", "validation" and "test"."""
    contents = raw_files(raw_folder(), settings.sha256.model_dump(by_alias=True))
    tensors = {name: read_idx(content, name) for name, content in contents.items()}
    training = take(make_split(tensors["train-images-idx3-ubyte"], tensors["train-labels-idx1-ubyte"]), settings.subset)
    test = take(make_split(tensors["t10k-images-idx3-ubyte"], tensors["t10k-labels-idx1-ubyte"]), settings.subset)
    train, validation = split_training_set(training, settings.validation_fraction, settings.split_seed)
    if not len(test.labels):
        raise UserError(f"data.subset {settings.subset} leaves no test images; raise it in params.yaml.")
    return {"train": train, "validation": validation, "test": test}


def main() -> None:
    for name, split in prepare(load_params().data).items():
        save_split(split, name)
        print(f"{name}: {len(split.labels)} images")


if __name__ == "__main__":
    main()
