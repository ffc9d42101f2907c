"""Every contender trains and evaluates LeNet-5 on the small data set. How fast, only a quiet machine can measure."""

import importlib.util
import json

import pytest

from tests.project import Project

LIBRARIES = ("jax", "keras", "tensorflow", "tinygrad")


@pytest.mark.parametrize(
    "contender", ["native-dropout", "torch", "reference-0", "peak", "limit", "eager", "compile", *LIBRARIES]
)
def test_a_contender_trains_lenet_5_and_is_timed(contender: str, benchmarked: Project) -> None:
    # Compilation takes half a minute, for which only the benchmark's own environment has the time.
    library = {"compile": "jax"}.get(contender, contender)
    if library in LIBRARIES and not importlib.util.find_spec(library):
        pytest.skip("needs what `make benchmark` installs")
    share = "0.01" if contender == "peak" else "1.0"  # it computes as much as for all 60,000 images
    output = benchmarked.run("python", "-m", "benchmarks.timing", contender, share, "16", "32").stdout
    results = json.loads(output)
    assert len(results) == 2
    for numbers in results:
        assert numbers["epoch"] == numbers["train"] + numbers["evaluate"] > 0
        assert numbers["start"] > 0
        assert 50 < numbers["megabytes"] < 2000
