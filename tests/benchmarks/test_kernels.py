"""The kernels beside the limit of one core."""

import pytest

from benchmarks import kernels
from lenet5.network.native.build import compilers, processor_levels

NAMES = ["C1 forward", "C3 forward", "C3 weight gradient", "C3 input gradient", "C1 weight gradient"]
NAMES += ["C5 forward", "C5 weight gradient", "C5 input gradient"]


def test_every_kernel_is_timed_and_stays_below_the_limit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kernels, "installed_compilers", lambda: {"cc": compilers()[0], "old": ["false"]})
    monkeypatch.setattr(kernels, "processor_levels", lambda: processor_levels()[-1:])
    result = kernels.kernels(rounds=2, repeats=20)
    assert capsys.readouterr().err.startswith("old is left out: false -O3")
    ((vectors, of),) = result.items()
    assert list(of) == ["limit", "cc"]
    assert list(of["cc"]) == NAMES
    for kernel in of["cc"].values():
        assert 0 < kernel["gflops"] < 1.1 * of["limit"]
        assert kernel["share"] == pytest.approx(kernel["gflops"] / of["limit"], abs=0.001)
    assert len(kernels.table(result).splitlines()) == 2 + len(NAMES)
    assert f"{vectors} cc" in kernels.table(result)
