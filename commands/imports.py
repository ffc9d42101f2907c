"""Which of the project's files a program loads, from the imports at the top of each."""

import ast
from collections.abc import Iterator
from pathlib import Path


def file_of(module: str) -> Path | None:
    """Return the file of one of the project's modules, or None for any other module."""
    path = Path(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def imported(file: Path) -> Iterator[str]:
    """Yield the names of modules that the file imports when it is loaded, and possibly names within them."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def loaded(module: str) -> set[Path]:
    """Return the project's files that are loaded with a module, without empty ones."""
    found: set[Path] = set()
    remaining = [module]
    while remaining:
        parts = remaining.pop().split(".")
        for length in range(1, len(parts) + 1):  # a package is loaded before its modules
            file = file_of(".".join(parts[:length]))
            if file and file not in found:
                found.add(file)
                remaining += imported(file)
    return {file for file in found if file.stat().st_size}


def dependencies(module: str) -> list[str]:
    """Return what a stage that runs this module depends on: folders of which it loads every file, and single files.

    Top folders are not taken as a whole: a new file in them would be a new dependency of every stage.
    """
    files = loaded(module)

    def place(file: Path) -> Path:
        whole = [
            folder
            for folder in file.parents
            if len(folder.parts) > 1 and {path for path in folder.rglob("*.py") if path.stat().st_size} <= files
        ]
        return whole[-1] if whole else file  # the outermost one

    return sorted({str(place(file)) for file in files})
