"""Compute one replicate: a run and its evaluation, with a seed and a learning rate of its own.

`python -m replication.replicate dropout 3 0.01` -> metrics/replicates/0.01/dropout-3.json

Code and settings are those of the study. The seed, which also draws the validation split, and the learning rate belong
to the replicate. Only metrics are kept, no model. With `--confirm`, the file is in metrics/confirmation instead, and
also holds the curves; with `--epochs`, in metrics/confirmation/longer.
"""

from lenet5.support.process import Inputs, set_up, set_up_torch

set_up()

import argparse
import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from lenet5.data.dataset import Data, Split
from lenet5.data.tensors import tensors_digest
from lenet5.network.model import parameter_count
from lenet5.preparation.sources import load_prepared
from lenet5.report.metrics import evaluate
from lenet5.support.errors import DivergenceError
from lenet5.support.files import write_json
from lenet5.support.params import DataSettings, Params, TrainSettings, load_params, technique_settings
from lenet5.support.schema import validated
from lenet5.training.checkpoint import Checkpoint, exclusive, identity, origin_of
from lenet5.training.loop import Progress, Row, build_network, train
from lenet5.training.progress import Reporter
from replication.analysis.results import CONFIRMATION, LONGER, REPLICATES, packed, path_of

# Of the short runs whose digests are fingerprints
SHORT_SEED = 1  # not the study's, so that the split is drawn here too
SHORT_EPOCHS = 4
SHORT_IMAGES = (4_010, 1_000, 1_000)  # of training, validation and test images; the last batch of 64 is not full


class ShortData(NamedTuple):
    """The first images of each split, and the sha256 of the whole splits."""

    data: Data
    data_sha256: list[str]


def replicate(
    settings: TrainSettings,
    data: Data,
    class_names: tuple[str, ...],
    checkpoint: Checkpoint | None = None,
    after_epoch: Callable[[Progress], object] = lambda progress: None,
) -> dict[str, Any]:
    """Train, and return the study's metrics of the kept epoch, which test images it classified correctly, and the
    curves: losses and accuracies of every epoch. A run that diverges is a result too: its `failure`."""
    try:
        progress = train(settings, data, checkpoint, after_epoch)
    except DivergenceError as error:
        return {"failure": str(error)}
    network = build_network(settings.model_copy(update={"device": "cpu"}))
    network.model.load_state_dict(progress.best_weights)
    metrics, predictions, _confusion = evaluate(network, data, class_names)
    return {
        **metrics,
        "chosen_epoch": progress.best.epoch,
        "parameters": parameter_count(network.model),
        "weights_sha256": tensors_digest(progress.best_weights),
        "test_images": len(predictions),
        "test_correct": packed((predictions["label"] == predictions["predicted"]).to_numpy()),
        "validation_losses": [row.validation_loss for row in progress.rows],
        "curves": {name: [getattr(row, name) for row in progress.rows] for name in Row._fields if name != "epoch"},
    }


def short_data(settings: DataSettings) -> ShortData:
    """Return the data of short runs, for `fingerprint_of`."""
    data = load_prepared(settings.model_copy(update={"split_seed": SHORT_SEED}))
    first = (Split(images[:count], labels[:count]) for (images, labels), count in zip(data, SHORT_IMAGES, strict=True))
    return ShortData(Data(*first), [split.digest() for split in data])


def fingerprint_of(settings: TrainSettings, short: ShortData, class_names: tuple[str, ...]) -> tuple[str, Any]:
    """Return a digest of all data, the number of epochs and the metrics of a short run with these settings, and the
    curves of that run, which are not part of the digest."""
    metrics = replicate(
        settings.model_copy(update={"seed": SHORT_SEED, "epochs": SHORT_EPOCHS}), short.data, class_names
    )
    curves = metrics.pop("curves", None)
    return digest(settings.epochs, short.data_sha256, metrics), curves


def digest(*contents: Any) -> str:
    """Return the sha256 of the contents as JSON, with every digit, in hexadecimal. It is cut to 128 bits, with which
    the entry of a replicate in dvc.lock has one line less."""
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()[:32]


def compute_run(
    name: str,
    parameters: tuple[TrainSettings, DataSettings],
    sources: Mapping[Path, str],
    locks: ExitStack,
    *,
    test: bool = True,
    curves: bool = False,
) -> tuple[dict[str, Any], Checkpoint]:
    """Compute a run, or resume it. Return its result, and its checkpoint, to be deleted when the result is written.

    Until `locks` closes, no other process computes a run of this `name`. `sources` has the digests of the source files.
    Without `test`, the validation images take the place of the test images, and the result contains no test metrics. It
    contains all curves only with `curves`.
    """
    settings, data_settings = parameters
    data = load_prepared(data_settings)
    if not test:
        data = data._replace(test=data.validation)
    images = "test" if test else "validation"
    checkpoint = locks.enter_context(exclusive(name, identity(origin_of(settings, data), sources)))
    reporter = Reporter(name, settings.epochs, images)
    metrics = replicate(settings, data, data_settings.class_names, checkpoint, reporter)
    if not curves:
        metrics.pop("curves", None)
    kept = {key: value for key, value in metrics.items() if test or not key.startswith("test_")}
    reporter.close(
        "diverged" if "failure" in metrics else f"{images} accuracy {100 * metrics[f'{images}_accuracy']:.2f} %"
    )
    return kept, checkpoint


def compute(
    technique: str,
    path: Path,
    parameters: Callable[[], tuple[TrainSettings, DataSettings]],
    *,
    test: bool = True,
    curves: bool = False,
) -> None:
    """Compute the run whose result is the file `path`, or resume it. `parameters` reads its settings."""
    set_up_torch()
    inputs = Inputs(parameters)
    settings, _data_settings = inputs.parameters
    identification = {"technique": technique, "seed": settings.seed, "learning_rate": settings.learning_rate}
    name = "-".join(path.with_suffix("").parts[2:])
    with ExitStack() as locks:
        result, checkpoint = compute_run(name, inputs.parameters, inputs.sources, locks, test=test, curves=curves)
        inputs.require_unchanged()
        write_json(path, identification | result)
        checkpoint.delete()


def of_seed(params: Params, settings: dict[str, Any], seed: int) -> tuple[TrainSettings, DataSettings]:
    """Return training settings with a seed, which also draws the validation images. Raises UserError for an invalid
    value."""
    settings = settings | {"seed": seed}
    return validated(TrainSettings, settings, "arguments"), params.data.model_copy(update={"split_seed": seed})


def main(technique: str, seed: int, learning_rate: float, confirm: bool, epochs: int | None) -> None:
    changes = {"learning_rate": learning_rate} | ({} if epochs is None else {"epochs": epochs})

    def parameters() -> tuple[TrainSettings, DataSettings]:
        params = load_params()
        return of_seed(params, technique_settings(params, technique).model_dump() | changes, seed)

    folder = LONGER if epochs is not None else CONFIRMATION if confirm else REPLICATES
    compute(technique, path_of(technique, seed, learning_rate, folder), parameters, curves=folder != REPLICATES)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m replication.replicate", description="Compute one replicate.")
    parser.add_argument("technique", help="a name under `techniques` in params.yaml")
    parser.add_argument("seed", type=int)
    parser.add_argument("learning_rate", type=float)
    parser.add_argument("--confirm", action="store_true", help="keep the curves, in metrics/confirmation")
    parser.add_argument(
        "--epochs", type=int, help="train for this many epochs, and keep the curves, in metrics/confirmation/longer"
    )
    main(**vars(parser.parse_args()))
