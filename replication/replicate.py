"""One replicate: train and evaluate a technique with a seed and a learning rate of its own.

`python -m replication.replicate dropout 3 0.01` -> metrics/replicates/0.01/dropout-3.json

The code is the study's, and so are the settings in params.yaml; the seed, which changes the split too, and the learning
rate are the replicate's. Only figures are kept, no model.
"""

import argparse
import base64
from typing import Any

import numpy as np
import torch

from stages import process
from stages.checkpoint import exclusive, identity
from stages.cuda import require_gpu
from stages.errors import DivergenceError
from stages.evaluate import evaluate
from stages.files import write_json
from stages.model import parameter_count
from stages.params import TrainSettings, load_params, technique_settings
from stages.paths import METRICS
from stages.prepare import prepare
from stages.progress import Reporter
from stages.tensors import tensors_digest
from stages.training import Data, Progress, build_network, train


def packed(correct: np.ndarray[Any, np.dtype[np.bool_]]) -> str:
    """Bool N as text, eight a byte, the first in the highest bit; padded with zeros."""
    return base64.b64encode(np.packbits(correct).tobytes()).decode()


def figures_of(progress: Progress, settings: TrainSettings, data: Data) -> dict[str, Any]:
    """What a finished training is worth: the study's evaluation of the kept epoch, which test images it recognised, and
    the curve of the validation loss."""
    network = build_network(settings.model_copy(update={"device": "cpu"}))
    network.model.load_state_dict(progress.best_weights)
    figures, predictions, _confusion = evaluate(network, data._asdict())
    return {
        **figures,
        "chosen_epoch": progress.best.epoch,
        "parameters": parameter_count(network.model),
        "weights_sha256": tensors_digest(progress.best_weights),
        "test_images": len(predictions),
        "test_correct": packed((predictions["label"] == predictions["predicted"]).to_numpy()),
        "validation_losses": [row.validation_loss for row in progress.rows],
    }


def main(technique: str, seed: int, learning_rate: float) -> None:
    process.set_up()
    params = load_params()
    settings = technique_settings(params, technique).model_copy(update={"seed": seed, "learning_rate": learning_rate})
    if settings.device == "cuda":
        require_gpu()
    data = Data(**prepare(params.data.model_copy(update={"split_seed": seed})))
    name = f"{technique}-{seed}"
    origin = {
        "settings": settings.model_dump(),
        "data_sha256": {split: tensors.digest() for split, tensors in data._asdict().items()},
        "torch": torch.__version__.split("+")[0],
    }
    reporter = Reporter(f"{learning_rate}-{name}", settings.epochs)
    with exclusive(f"{learning_rate}-{name}", identity(**origin)) as checkpoint:
        try:
            figures = figures_of(train(settings, data, checkpoint, reporter), settings, data)
        except DivergenceError as error:
            figures = {"failure": str(error)}  # an outcome, to be counted
        replicate = {"technique": technique, "seed": seed, "learning_rate": learning_rate}
        write_json(METRICS / "replicates" / str(learning_rate) / f"{name}.json", {**replicate, **figures})
        checkpoint.delete()
    reporter.close("diverged" if "failure" in figures else f"test accuracy {100 * figures['test_accuracy']:.2f} %")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m replication.replicate", description="Compute one replicate.")
    parser.add_argument("technique", help="a name under `techniques` in params.yaml")
    parser.add_argument("seed", type=int)
    parser.add_argument("learning_rate", type=float)
    main(**vars(parser.parse_args()))
