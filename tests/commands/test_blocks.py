"""Editing the entries of one block in the text of a YAML file."""

import pytest

from commands.blocks import replaced

TEXT = """\
deps: # of the stage
- a

# about b
- b # a remark
params:
- train
"""


@pytest.mark.parametrize("indent", ["", "  "])
def test_entries_keep_their_comments_and_neighbours_stay(indent: str) -> None:
    lines = [f"{indent}{line}" if line.startswith(("-", "#")) else line for line in TEXT.splitlines()]
    edited = replaced(lines, 1, [("b", ["- b"]), ("c", ["- c", "  more"])])
    block = ["", "# about b", "- b # a remark", "- c", "  more"]
    assert edited == [lines[0], *(f"{indent}{line}" if line else "" for line in block), *lines[5:]]


def test_a_removed_last_entry_leaves_what_follows_the_block() -> None:
    assert replaced(["x:", "  a: 1", "  b: 2", "", "# y", "y: 3"], 1, [("a", [])]) == [
        "x:",
        "  a: 1",
        "",
        "# y",
        "y: 3",
    ]
