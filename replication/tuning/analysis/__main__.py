"""Analyse the tuned techniques: metrics/tuning -> metrics/tuning.{json,md} and metrics/tuning/.

Nothing is compared on the test images before the last of the planned seeds is computed.
"""

from lenet5.support.process import Inputs, set_up, take_no_arguments

set_up()

from typing import Any

import matplotlib as mpl

from lenet5.report.figures import STYLE, png
from lenet5.support.files import write_atomically, write_json
from lenet5.support.paths import METRICS
from replication.analysis.figures import notice
from replication.analysis.plan import load_plan
from replication.tuning.analysis import figures, tables
from replication.tuning.analysis.comparison import at_edge, compared, searched
from replication.tuning.files import files_of_final, files_of_refine, files_of_search, read_all
from replication.tuning.plan import CANDIDATES, CHOICE, TUNING, load_tuning, read_cells


def main() -> None:
    folders = [TUNING / stage for stage in ("search", "refine", "final")]
    inputs = Inputs(lambda: (load_plan(), load_tuning()), CANDIDATES, CHOICE, *folders)
    margin, plan = inputs.parameters[0].equivalence_points, inputs.parameters[1]
    candidates, chosen = read_cells(plan, CANDIDATES), read_cells(plan, CHOICE)
    runs = read_all(files_of_search(plan) + files_of_refine(plan) + files_of_final(plan))
    tested = {
        technique: [run for run in runs if run["setting"] in settings and run["seed"] in plan.final.seeds]
        for technique, settings in plan.choices.items()
    }
    cells = searched(plan, [run for run in runs if run["seed"] not in plan.final.seeds], candidates, chosen)
    content: dict[str, Any] = {"search": cells, "at_edge": at_edge(plan, candidates, chosen), "final": []}
    text = plan.final.progress("seeds")
    images = {"accuracy": notice(text)}
    with mpl.rc_context(STYLE):
        images["search"] = png(figures.search(cells, plan))
        if plan.final.complete:
            content["final"] = rows = compared(tested, chosen, margin)
            images["accuracy"], text = png(figures.accuracy(tested, rows, margin)), tables.full(rows)
    inputs.require_unchanged()
    write_json(METRICS / "tuning.json", content)
    write_atomically(METRICS / "tuning.md", text.encode())
    write_atomically(TUNING / "search.md", tables.search(cells).encode())
    for name, image in images.items():
        write_atomically(TUNING / f"{name}.png", image)
    print(tables.search(cells) + "\n" + text, end="")


if __name__ == "__main__":
    take_no_arguments()
    main()
