"""Compute one replicate: a run and its evaluation, with a seed and a learning rate of its own.

`python -m replication.replicate dropout 3 0.01` -> metrics/replicates/0.01/dropout-3.json

Code and settings are those of the study. The seed, which also draws the validation split, and the learning rate belong
to the replicate. Only metrics are kept, no model. With `--confirm`, the file is in metrics/confirmation instead, and
also holds the curves; with `--epochs`, in metrics/confirmation/longer.
"""

from lenet5.support.process import Inputs, set_up, set_up_torch

set_up()

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lenet5.data.dataset import Data
from lenet5.data.tensors import tensors_digest
from lenet5.network.model import parameter_count
from lenet5.preparation.sources import load_prepared
from lenet5.report.metrics import evaluate
from lenet5.support.errors import DivergenceError
from lenet5.support.files import write_json
from lenet5.support.params import DataSettings, TrainSettings, load_params, technique_settings
from lenet5.training.checkpoint import Checkpoint, exclusive, identity, origin_of
from lenet5.training.cuda import require_gpu
from lenet5.training.loop import Progress, Row, build_network, train
from lenet5.training.progress import Reporter
from replication.analysis.results import CONFIRMATION, LONGER, REPLICATES, packed, path_of


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


def compute(
    technique: str,
    path: Path,
    parameters: Callable[[], tuple[TrainSettings, DataSettings]],
    *,
    test: bool = True,
    curves: bool = False,
) -> None:
    """Compute the run whose result is the file `path`, or resume it. `parameters` reads its settings.

    Without `test`, the validation images take the place of the test images, and the result holds nothing of these. It
    holds all curves only with `curves`.
    """
    set_up_torch()
    inputs = Inputs(parameters)
    settings, data_settings = inputs.parameters
    if settings.device == "cuda":
        require_gpu()
    data = load_prepared(data_settings)
    if not test:
        data = data._replace(test=data.validation)
    run = "-".join(path.with_suffix("").parts[2:])
    reporter = Reporter(run, settings.epochs)
    with exclusive(run, identity(origin_of(settings, data), inputs.sources)) as checkpoint:
        metrics = replicate(settings, data, data_settings.class_names, checkpoint, reporter)
        if not curves:
            metrics.pop("curves", None)
        kept = {key: value for key, value in metrics.items() if test or not key.startswith("test_")}
        identification = {"technique": technique, "seed": settings.seed, "learning_rate": settings.learning_rate}
        inputs.require_unchanged()
        write_json(path, identification | kept)
        checkpoint.delete()
    images = "test" if test else "validation"
    reporter.close(
        "diverged" if "failure" in metrics else f"{images} accuracy {100 * metrics[f'{images}_accuracy']:.2f} %"
    )


def main(technique: str, seed: int, learning_rate: float, confirm: bool, epochs: int | None) -> None:
    changes = {"seed": seed, "learning_rate": learning_rate} | ({"epochs": epochs} if epochs else {})

    def parameters() -> tuple[TrainSettings, DataSettings]:
        params = load_params()
        settings = technique_settings(params, technique).model_copy(update=changes)
        return settings, params.data.model_copy(update={"split_seed": seed})

    folder = LONGER if epochs else CONFIRMATION if confirm else REPLICATES
    compute(technique, path_of(technique, seed, learning_rate, folder), parameters, curves=folder != REPLICATES)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m replication.replicate", description="Compute one replicate.")
    parser.add_argument("technique", help="a name under `techniques` in params.yaml")
    parser.add_argument("seed", type=int)
    parser.add_argument("learning_rate", type=float)
    parser.add_argument("--confirm", action="store_true", help="keep the curves, in metrics/confirmation")
    parser.add_argument("--epochs", type=int, help="train so long, and keep the curves, in metrics/confirmation/longer")
    main(**vars(parser.parse_args()))
