"""Analyse the test images: near-duplicates of training images, and images that every network misclassifies.

metrics/replicates, metrics/confirmation and the data set -> metrics/replication/images.{json,png}

The earlier seeds are always analysed, the fresh seeds once all that are planned are computed.
"""

from lenet5.support.process import Inputs, set_up, set_up_torch, take_no_arguments

set_up()

import matplotlib as mpl
import torch

from lenet5.data.dataset import Split
from lenet5.preparation.sources import load_prepared
from lenet5.report.figures import STYLE, png
from lenet5.support.files import write_atomically, write_json
from lenet5.support.params import load_params
from lenet5.support.paths import METRICS
from replication.analysis.plan import load_plan
from replication.analysis.results import CONFIRMATION, REPLICATES, read_replicates
from replication.confirmation.files import read_confirmation
from replication.images import analysis
from replication.images.figure import draw

FOLDER = METRICS / "replication"


def main() -> None:
    set_up_torch()
    inputs = Inputs(lambda: (load_plan(), load_params().data), REPLICATES, CONFIRMATION)
    plan, settings = inputs.parameters
    earlier = read_replicates(plan)
    seeds = {"earlier": earlier} | ({"fresh": read_confirmation(plan)[0]} if plan.confirmation.complete else {})
    data = load_prepared(settings)
    known = Split(*(torch.cat(pair) for pair in zip(data.train, data.validation, strict=True)))
    distances, nearest = analysis.nearest(data)
    labels, nearest_labels = data.test.labels.numpy(), known.labels.numpy()[nearest]
    tenth = analysis.tenths(distances, labels)
    missed = analysis.missed_by_technique(*seeds.values())
    by_seeds = {
        name: {
            str(rate): {
                "accuracy_in_halves": analysis.in_halves(techniques, tenth),
                "accuracy_by_tenth": analysis.by_tenth(techniques, tenth),
                "difference_by_class": analysis.by_class(techniques, labels, settings.class_names),
            }
            for rate, techniques in by_rate.items()
        }
        for name, by_rate in seeds.items()
    }
    content = {
        "duplicates": analysis.about_duplicates(distances, labels, nearest_labels),
        "by_seeds_and_learning_rate": by_seeds,
        "missed_by_all": analysis.about_missed(missed, labels, nearest_labels, settings.class_names),
    }
    shown = by_seeds.get("fresh", by_seeds["earlier"])
    with mpl.rc_context(STYLE):
        places = content["missed_by_all"]["images"]
        figure = png(draw(shown, places, data.test, known, nearest, class_names=settings.class_names))
    inputs.require_unchanged()
    write_json(FOLDER / "images.json", content)
    write_atomically(FOLDER / "images.png", figure)


if __name__ == "__main__":
    take_no_arguments()
    main()
