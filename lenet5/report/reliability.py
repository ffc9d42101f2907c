"""The reliability diagram: how often a network is right, by predicted probability."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest

BINS = 15  # as in the calibration error of metrics.py, which loads PyTorch; a test compares both


def reliability(confidences: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = BINS) -> pd.DataFrame:
    """Return one row per bin of confidence that has images: their number, the mean confidence, and the accuracy with
    its 95 % Wilson interval.

    Guo et al., On calibration of modern neural networks, ICML 2017 (arXiv:1706.04599), section 2: the bins have equal
    widths and are open on the left. confidences: N in [0, 1], the probability of the predicted class.
    """
    index = np.ceil(confidences * bins).clip(1, bins)
    groups = pd.DataFrame({"confidence": confidences, "accuracy": correct}).groupby(index)
    table = groups.mean().assign(images=groups.size()).reset_index(drop=True)
    tests = (binomtest(right, images) for right, images in zip(groups["accuracy"].sum(), table["images"], strict=True))
    intervals = [test.proportion_ci(confidence_level=0.95, method="wilson") for test in tests]
    table["low"], table["high"] = zip(*intervals, strict=True)
    return table[["images", "confidence", "accuracy", "low", "high"]]
