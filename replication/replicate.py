"""Compute one replicate: a run and its evaluation, with a seed and a learning rate of its own.

`python -m replication.replicate dropout 3 0.01` -> metrics/replicates/0.01/dropout-3.json

Code and settings are those of the study. The seed, which also draws the validation split, and the learning rate belong
to the replicate. Only metrics are kept, no model.
"""

from lenet5.support.process import Inputs, set_up, set_up_torch

set_up()

import argparse
from collections.abc import Callable
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
from lenet5.training.loop import Progress, build_network, train
from lenet5.training.progress import Reporter
from replication.analysis.results import packed, path_of


def replicate(
    settings: TrainSettings,
    data: Data,
    class_names: tuple[str, ...],
    checkpoint: Checkpoint | None = None,
    after_epoch: Callable[[Progress], object] = lambda progress: None,
) -> dict[str, Any]:
    """Train, and return the study's metrics of the kept epoch, which test images it classified correctly, and the
    validation loss of every epoch. A run that diverges is a result too: its `failure`."""
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
    }


def main(technique: str, seed: int, learning_rate: float) -> None:
    set_up_torch()

    def parameters() -> tuple[TrainSettings, DataSettings]:
        params = load_params()
        settings = technique_settings(params, technique)
        settings = settings.model_copy(update={"seed": seed, "learning_rate": learning_rate})
        return settings, params.data.model_copy(update={"split_seed": seed})

    inputs = Inputs(parameters)
    settings, data_settings = inputs.parameters
    if settings.device == "cuda":
        require_gpu()
    data = load_prepared(data_settings)
    run = f"{learning_rate}-{technique}-{seed}"
    reporter = Reporter(run, settings.epochs)
    with exclusive(run, identity(origin_of(settings, data), inputs.sources)) as checkpoint:
        metrics = replicate(settings, data, data_settings.class_names, checkpoint, reporter)
        content = {"technique": technique, "seed": seed, "learning_rate": learning_rate, **metrics}
        inputs.require_unchanged()
        write_json(path_of(technique, seed, learning_rate), content)
        checkpoint.delete()
    reporter.close("diverged" if "failure" in metrics else f"test accuracy {100 * metrics['test_accuracy']:.2f} %")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m replication.replicate", description="Compute one replicate.")
    parser.add_argument("technique", help="a name under `techniques` in params.yaml")
    parser.add_argument("seed", type=int)
    parser.add_argument("learning_rate", type=float)
    main(**vars(parser.parse_args()))
