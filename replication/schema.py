"""Write replication/params.schema.json, with which editors check replication/params.yaml: `make sync`.

As commands/schema.py. Only the checker reports a technique that ../params.yaml does not define, a value that is listed
twice, a plan without the baseline, and a control with the same learning rate.
"""

from lenet5.support.process import set_up

set_up()

from commands.schema import schema_of
from lenet5.support.files import write_json
from replication.analysis.results import PLAN, Plan

PATH = PLAN.with_name("params.schema.json")


def main() -> None:
    write_json(PATH, schema_of(Plan))


if __name__ == "__main__":
    main()
