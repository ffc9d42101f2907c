"""Edit the entries of one mapping or list in the text of a YAML file; every other byte stays as it is."""

import re
from collections.abc import Iterable

Entries = dict[str, list[str]]  # the lines of each entry, with the comments above it

KEY = re.compile(r"(?:- )?[\"']?([^\s:#\"']+)")


def indentation(line: str) -> int:
    return len(line) - len(line.lstrip())


def entries(lines: list[str], start: int) -> tuple[Entries, int]:
    """Return the entries of the block whose first entry is in line `start`, by key or item, and the line after it."""
    column, is_list = indentation(lines[start]), lines[start].lstrip().startswith("-")
    found: Entries = {}
    end = start
    above: list[str] = []  # blank lines and comments, which belong to the entry below them
    for number, line in enumerate(lines[start:], start):
        content = line.strip()
        if not content or content.startswith("#"):
            above.append(line)
            continue
        if indentation(line) < column or (is_list and indentation(line) == column and not content.startswith("-")):
            break
        if indentation(line) == column:
            match = KEY.match(content)
            if not match:
                raise ValueError(f"line {number + 1} has no key")
            found[match[1]] = []
            current = found[match[1]]
        current += [*above, line]
        above = []
        end = number + 1
    return found, end


def replaced(lines: list[str], start: int, wanted: Iterable[tuple[str, list[str]]]) -> list[str]:
    """Return the lines with the wanted entries in the block at `start`, in this order: of an entry that exists, its own
    lines; of a new one, the given lines, which are indented here."""
    found, end = entries(lines, start)
    indent = " " * indentation(lines[start])
    block = [line for key, new in wanted for line in found.get(key, [f"{indent}{line}" for line in new])]
    return lines[:start] + block + lines[end:]
