"""Train LeNet-5 with one technique: `python -m stages.train dropout`.

data/prepared -> models/<technique>.pt, the weights of the epoch with the lowest validation loss, and
metrics/curves/<technique>.csv, one row per epoch, written at the end of each epoch. If it is killed,
running it again resumes after the last complete epoch and ends with the same bytes.
"""

from lenet5.support.process import Inputs, set_up, set_up_torch

set_up()

import argparse

from lenet5.data.dataset import load_class_names, load_data
from lenet5.network.model_file import save_model
from lenet5.support.errors import DivergenceError, UserError
from lenet5.support.files import write_atomically
from lenet5.support.params import load_params, technique_settings
from lenet5.support.paths import CURVES, MODELS, PREPARED
from lenet5.training.checkpoint import exclusive, identity, origin_of
from lenet5.training.loop import Progress, curve_csv, train
from lenet5.training.progress import Reporter


def main(technique: str) -> None:
    set_up_torch()
    inputs = Inputs(lambda: technique_settings(load_params(), technique), PREPARED)
    settings = inputs.parameters
    data, class_names = load_data(), load_class_names()
    origin = origin_of(settings, data)
    with exclusive(technique, identity(origin, inputs.sources)) as checkpoint:
        reporter = Reporter(technique, settings.epochs)

        def after_epoch(progress: Progress) -> None:
            write_atomically(CURVES / f"{technique}.csv", curve_csv(progress.rows))
            reporter(progress)

        try:
            progress = train(settings, data, checkpoint, after_epoch)
            inputs.require_unchanged()
        except DivergenceError as error:
            remedy = f"Lower its learning_rate (now {settings.learning_rate}) in params.yaml."
            raise UserError(f"{technique}: {error} {remedy}") from None
        except UserError as error:
            raise UserError(f"{technique}: {error}") from None
        best = progress.best
        save_model(
            MODELS / f"{technique}.pt",
            technique=technique,
            settings=settings,
            weights=progress.best_weights,
            epoch=best.epoch,
            validation_loss=best.validation_loss,
            origin=origin,
            class_names=class_names,
        )
        checkpoint.delete()
    reporter.close(
        f"kept epoch {best.epoch} of {settings.epochs}: validation loss {best.validation_loss:.4f}, "
        f"test loss {best.test_loss:.4f}, test accuracy {100 * best.test_accuracy:.2f} %"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m stages.train", description="Train LeNet-5 with one technique.")
    parser.add_argument("technique", help="a name under `techniques` in params.yaml")
    main(parser.parse_args().technique)
