"""Download Fashion-MNIST, pad it to 32x32, split and describe it.

data/raw -> data/prepared/{train,validation,test}.pt and the data card, data/README.md. The names of the classes are
written next to the images if params.yaml gives them.
"""

from lenet5.support.process import Inputs, set_up, take_no_arguments

set_up()

from lenet5.data.dataset import save_class_names, save_split
from lenet5.preparation.card import data_card
from lenet5.preparation.sources import load_prepared
from lenet5.support.files import write_atomically
from lenet5.support.params import load_params
from lenet5.support.paths import PREPARED

CARD = PREPARED.with_name("README.md")


def main() -> None:
    inputs = Inputs(lambda: load_params().data)
    settings = inputs.parameters
    data = load_prepared(settings)
    card = data_card(data, settings)
    inputs.require_unchanged()
    for name, split in data._asdict().items():
        save_split(split, name)
        print(f"{name}: {len(split.labels)} images")
    save_class_names(settings.class_names)
    write_atomically(CARD, card.encode())


if __name__ == "__main__":
    take_no_arguments()
    main()
