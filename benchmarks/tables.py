"""Write the tables of docs/performance.md: metrics/benchmark.json -> the lines between two comments in the page."""

from lenet5.support.process import set_up, take_no_arguments

set_up()

import json
from pathlib import Path
from typing import Any

from benchmarks.figure import names_of
from lenet5.report.tables import markdown
from lenet5.support.errors import UserError
from lenet5.support.files import write_atomically
from lenet5.support.paths import METRICS

PAGE = Path("docs/performance.md")
START, END = "<!-- written by `python -m benchmarks.tables` -->\n", "<!-- end of the tables -->\n"


def contenders(benchmark: dict[str, Any]) -> str:
    """Return the seconds per epoch of each contender, and how far ours is ahead of it on as many cores."""
    names, factors = names_of(benchmark), benchmark["factors_at_equal_cores"]
    counts = list(next(iter(factors.values())))
    seconds = {name: of["epoch"] for name, of in benchmark["seconds_per_epoch"].items() if name in names}
    head = ["", "seconds per epoch", *(f"ours is faster, {n} core{'' if n == '1' else 's'}" for n in counts)]
    rows = []
    for name in sorted(seconds, key=lambda name: seconds[name]):
        times = [f"{factors[name][n]:.1f} times" if name in factors else "" for n in counts]
        rows.append([names[name], f"{seconds[name]:.1f}", *times])
    return markdown(head, rows)


def shares(benchmark: dict[str, Any]) -> str:
    """Return rates of the kernels and times of the epoch, with their shares of the limit, by vectors and compiler."""
    kernels, epoch = benchmark["kernels"], benchmark["seconds_per_epoch_by_compiler"]
    columns = [(vectors, compiler) for vectors, of in epoch.items() for compiler in of]
    vectors, compiler = columns[0]
    rows = [["limit of one core, GFLOP/s", *(f"{kernels[vectors]['limit']:.0f}" for vectors, _ in columns)]]
    for name in kernels[vectors][compiler]:
        of = [kernels[vectors][compiler][name] for vectors, compiler in columns]
        rows.append([name, *(f"{kernel['gflops']:.0f} ({100 * kernel['share']:.0f} %)" for kernel in of)])
    for part, name in (("train", "training"), ("evaluate", "evaluation"), ("epoch", "epoch")):
        times = [epoch[vectors][compiler] for vectors, compiler in columns]
        rows.append([f"{name}, seconds", *(f"{of[part]:.2f} ({100 * of[f'limit / {part}']:.0f} %)" for of in times)])
    return markdown(["", *(f"{vectors}, {compiler}" for vectors, compiler in columns)], rows)


def projected(benchmark: dict[str, Any]) -> str:
    """Return the minutes of the study and of all replicates for each number of cores."""
    by_cores = benchmark["projection"]
    rows = [[part, *(f"{of[part] / 60:.1f}" for of in by_cores.values())] for part in ("study", "replicates")]
    return markdown(["minutes, by cores", *by_cores], rows)


def tables(benchmark: dict[str, Any]) -> str:
    return f"\n{contenders(benchmark)}\n{shares(benchmark)}\n{projected(benchmark)}\n"


def with_tables(page: str, benchmark: dict[str, Any]) -> str:
    """Return the page with the tables of this benchmark. Raises UserError if it has no place for them."""
    before, start, rest = page.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise UserError(f"{PAGE} lacks the lines {START.strip()} and {END.strip()}, between which the tables belong.")
    return before + start + tables(benchmark) + end + after


if __name__ == "__main__":
    take_no_arguments()
    results = json.loads((METRICS / "benchmark.json").read_text())
    write_atomically(PAGE, with_tables(PAGE.read_text(encoding="utf-8"), results).encode())
