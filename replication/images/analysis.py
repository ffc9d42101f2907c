"""The test images: how near the nearest training image is, and which images every network misclassifies."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lenet5.data.dataset import Data, Split
from lenet5.support.params import BASELINE
from replication.analysis.comparison import Techniques, common_seeds, mean_with_interval
from replication.analysis.statistics import Values, interval

NEAR_DUPLICATE = 10  # root mean square difference of pixels, whose values are 0 to 255
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
TENTHS = 10
CHUNK = 250  # test images at a time; their distances to 60,000 images take 120 MB

Booleans = NDArray[np.bool_]


def pixels(split: Split) -> torch.Tensor:
    """Return the images without their padding as rows: float64 N x 784."""
    return split.images[:, 0, 2:-2, 2:-2].flatten(1).double()


def nearest(data: Data) -> tuple[Values, NDArray[np.int64]]:
    """Return, for each test image, the root mean square pixel difference from the nearest training or validation image,
    float64 N, and the place of that image among the training images followed by the validation images, int64 N.

    Squared distances of whole numbers are exact in float64, in whatever order they are summed.
    """
    known = torch.cat([pixels(data.train), pixels(data.validation)])
    squares = known.square().sum(1)
    distances, places = [], []
    for chunk in pixels(data.test).split(CHUNK):
        partial, place = (squares - 2 * chunk @ known.T).min(1)
        distances.append(partial + chunk.square().sum(1))
        places.append(place)
    return (torch.cat(distances) / known.shape[1]).sqrt().numpy(), torch.cat(places).numpy()


def about_duplicates(distances: Values, labels: NDArray[np.int64], nearest_labels: NDArray[np.int64]) -> dict[str, Any]:
    """Return the distribution of the distances, and how often the nearest image has the same label."""
    spread = np.quantile(distances, QUANTILES)
    close = distances < NEAR_DUPLICATE
    same = labels == nearest_labels
    return {
        "distance_quantiles": {str(q): float(value) for q, value in zip(QUANTILES, spread, strict=True)},
        "identical": int((distances == 0).sum()),
        "near_duplicates": int(close.sum()),
        "near_duplicates_with_another_label": int((close & ~same).sum()),
        "nearest_has_the_same_label": float(same.mean()),
    }


def tenths(distances: Values, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return in which tenth of its class each image is, by its distance: int64 N, 0 for the nearest. Within classes,
    since some classes are both uniform and easy."""
    result = np.empty_like(labels)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        order = places[np.argsort(distances[places], kind="stable")]
        result[order] = np.arange(len(order)) * TENTHS // len(order)
    return result


def trained(techniques: Techniques) -> Techniques:
    """Return the techniques of which not every run diverged."""
    return {name: ours for name, ours in techniques.items() if ours.by_seed}


def in_halves(techniques: Techniques, tenth: NDArray[np.int64]) -> dict[str, Any]:
    """Return each technique's accuracy in percent on the half of the test images that is nearer to a training image and
    on the other, and its difference from the baseline there, in points, paired by seed."""
    near = tenth < TENTHS / 2
    seeds = common_seeds(techniques)
    results: dict[str, Any] = {}
    for name, ours in trained(techniques).items():
        paired = seeds.get(name, list(ours.by_seed))
        halves = {half: _percent(ours.correct(paired), of) for half, of in (("near", near), ("far", ~near))}
        results[name] = {half: _mean(values) for half, values in halves.items()}
        if name != BASELINE and name in seeds:
            baseline = techniques[BASELINE].correct(paired)
            differences = {"near": halves["near"] - _percent(baseline, near)}
            differences["far"] = halves["far"] - _percent(baseline, ~near)
            differences["far_minus_near"] = differences["far"] - differences["near"]
            results[name]["against_baseline"] = {part: mean_with_interval(each) for part, each in differences.items()}
    return results


def by_tenth(techniques: Techniques, tenth: NDArray[np.int64]) -> dict[str, list[float | None]]:
    """Return the mean accuracy in percent of each technique on every tenth of the test images, nearest first. None for
    a tenth without images, which classes of fewer than ten images can leave."""
    correct = {name: ours.correct(list(ours.by_seed)) for name, ours in trained(techniques).items()}
    parts = [tenth == number for number in range(TENTHS)]
    return {
        name: [float(100 * rows[:, part].mean()) if part.any() else None for part in parts]
        for name, rows in correct.items()
    }


def by_class(techniques: Techniques, labels: NDArray[np.int64], names: tuple[str, ...]) -> dict[str, Any]:
    """Return each technique's difference from the baseline in the accuracy on each class, in points, paired by seed."""
    results: dict[str, Any] = {}
    for technique, seeds in common_seeds(techniques).items():
        ours, baseline = (techniques[name].correct(seeds) for name in (technique, BASELINE))
        results[technique] = {
            name: mean_with_interval(_percent(ours, labels == number) - _percent(baseline, labels == number))
            for number, name in enumerate(names)
            if (labels == number).any()
        }
    return results


def missed_by_technique(*by_rate: dict[float, Techniques]) -> dict[str, Booleans]:
    """Return, for each technique, whether all its replicates misclassify a test image: bool N."""
    correct: dict[str, list[Booleans]] = {}
    for techniques in (techniques for replicates in by_rate for techniques in replicates.values()):
        for name, ours in trained(techniques).items():
            correct.setdefault(name, []).append(ours.correct(list(ours.by_seed)))
    return {name: np.asarray(~np.concatenate(rows).any(axis=0)) for name, rows in correct.items()}


def about_missed(
    by_technique: dict[str, Booleans],
    labels: NDArray[np.int64],
    nearest_labels: NDArray[np.int64],
    names: tuple[str, ...],
) -> dict[str, Any]:
    """Return which images every replicate misclassifies, of which classes, how often the nearest image has another
    label, and how many images each technique misses."""
    missed = np.flatnonzero(np.all(list(by_technique.values()), axis=0)) if by_technique else np.array([], np.int64)
    counts = np.bincount(labels[missed], minlength=len(names))
    return {
        "count": len(missed),
        "count_by_technique": {name: int(of.sum()) for name, of in by_technique.items()},
        "by_class": dict(zip(names, map(int, counts), strict=True)),
        "nearest_has_another_label": int((labels[missed] != nearest_labels[missed]).sum()),
        "images": missed.tolist(),
    }


def _percent(correct: Booleans, images: Booleans) -> Values:
    """Return the accuracy of each seed on some of the images, in percent."""
    return np.asarray(100 * correct[:, images].mean(axis=1))


def _mean(values: Values) -> dict[str, Any]:
    return {"mean": float(values.mean()), "interval": interval(values) if len(values) > 1 else None}
