"""Download Fashion-MNIST, pad it to 32x32 and split it: data/raw -> data/prepared/{train,validation,test}.pt."""

from lenet5.support.process import set_up

set_up()

from lenet5.data.dataset import save_split
from lenet5.preparation.prepare import prepare
from lenet5.preparation.sources import raw_files, raw_folder
from lenet5.support.params import load_params


def main() -> None:
    settings = load_params().data
    contents = raw_files(raw_folder(), settings.sha256.model_dump(by_alias=True))
    for name, split in prepare(contents, settings)._asdict().items():
        save_split(split, name)
        print(f"{name}: {len(split.labels)} images")


if __name__ == "__main__":
    main()
