"""Compiling the native backend: choice of compiler, errors, and reuse of a compiled library."""

import ctypes
import importlib.util
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lenet5.network import native
from lenet5.network.native import build
from lenet5.support.errors import UserError

EXPORT = '__attribute__((visibility("default")))'


def test_error_without_a_compiler_names_the_alternatives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"ziglang.*or set train.backend to torch"):
        build.compilers()


@pytest.mark.parametrize("command", ["gcc '", "nonsense", "true", "false"])
def test_error_on_invalid_cc_names_command_and_variable(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "LIBRARIES", tmp_path / "libraries")
    monkeypatch.setenv("CC", command)
    with pytest.raises(UserError, match=command) as raised:
        build.build()
    assert "CC" in str(raised.value)
    assert not any((tmp_path / "libraries").glob("*"))


def test_zig_compiles_where_cc_is_too_old_even_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "bin/cc"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho 'cannot compile this' >&2\nexit 1\n")
    old.chmod(0o755)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(old.parent), prepend=":")
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(build, "LIBRARIES", tmp_path / "libraries")
    assert ctypes.CDLL(str(build.build())).infer
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(build, "LIBRARIES", tmp_path / "others")
    with pytest.raises(UserError, match=r"cannot compile this\n(?s:.*)train.backend to torch"):
        build.build()


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A C file that takes the place of all, in an empty folder."""
    path = tmp_path / "lenet5.c"
    path.write_text(f"{EXPORT} int f(void) {{ return 1; }}\n")
    monkeypatch.setattr(build, "LIBRARIES", tmp_path / "libraries")
    monkeypatch.setattr(build, "SOURCES", [path])
    monkeypatch.setattr(build, "MAIN", path)
    return path


def test_changed_source_is_compiled_again(source: Path) -> None:
    first = build.build()
    assert build.build() == first
    source.write_text(f"{EXPORT} int f(void) {{ return 2; }}\n")
    second = build.build()
    assert [ctypes.CDLL(str(path)).f() for path in (first, second)] == [1, 2]
    source.write_text("not C\n")
    with pytest.raises(UserError, match="failed"):
        build.build()
    assert sorted(build.LIBRARIES.iterdir()) == sorted([first, second])


def test_source_edited_during_compilation_leaves_no_library(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_library = build.compile_library

    def edited_meanwhile(*arguments: Any) -> None:
        compile_library(*arguments)
        source.write_text(f"{EXPORT} int f(void) {{ return 2; }}\n")

    monkeypatch.setattr(build, "compile_library", edited_meanwhile)
    with pytest.raises(UserError, match="changed while it was compiled; run the same command again"):
        build.build()
    assert not any(build.LIBRARIES.glob("*.so"))


def test_threads_can_compile_the_same_library_at_once(source: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = {future.result() for future in [pool.submit(build.build) for _ in range(4)]}
    assert len(paths) == 1 and ctypes.CDLL(str(paths.pop())).f() == 1


def test_a_folder_that_cannot_be_written_is_named(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "LIBRARIES", source / "libraries")
    with pytest.raises(UserError, match=r"lenet5\.c/libraries cannot be written \(Not a directory\)") as raised:
        build.build()
    assert "gcc" not in str(raised.value)


def test_what_a_compiler_prints_need_not_be_utf_8(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\nprintf 'gr\\374n' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    with pytest.raises(UserError, match="gr\N{REPLACEMENT CHARACTER}n"):
        build.build()


def test_a_library_that_cannot_be_loaded_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "native-0.so"
    damaged.touch()
    monkeypatch.setattr(native, "build_library", lambda: damaged)
    with pytest.raises(UserError, match=r"native-0\.so cannot be loaded .* Delete it, and run the same command again"):
        native.library.__wrapped__()


@pytest.mark.parametrize("command", [["zig", "cc"], ["/opt/zig", "cc"], build.ZIG])
def test_zig_gets_its_own_spelling_of_a_level(command: list[str]) -> None:
    assert build.target_flags(command, "x86-64-v3") == ["-march=x86_64_v3"]
    assert build.target_flags(["gcc"], "x86-64-v3") == ["-march=x86-64-v3"]


@pytest.mark.parametrize(("old", "new"), [("F6_UNITS = 84", "F6_UNITS = 128"), ("C1_CHANNELS = 6", "C1_CHANNELS = 30")])
def test_sizes_that_would_overflow_an_array_do_not_compile(old: str, new: str, tmp_path: Path) -> None:
    folder = shutil.copytree(build.MAIN.parent, tmp_path / "native")
    text = (folder / "sizes.h").read_text()
    assert old in text
    (folder / "sizes.h").write_text(text.replace(old, new))
    command = build.compilers()[0]
    flags = [*build.FLAGS, *build.target_flags(command, build.processor_level()), "-fsyntax-only"]
    with pytest.raises(UserError, match=r"static assertion failed.*: (C5 must be|two rows of C1)"):
        build.compile_library(command, flags, folder / "lenet5.c", tmp_path / "library.so")
