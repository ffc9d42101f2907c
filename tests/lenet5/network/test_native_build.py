"""Compiling the native backend: choice of compiler, errors, and reuse of a compiled library."""

import ctypes
import importlib.util
import shutil
from pathlib import Path

import pytest

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


def test_changed_source_is_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "LIBRARIES", tmp_path / "libraries")
    source = tmp_path / "lenet5.c"
    source.write_text(f"{EXPORT} int f(void) {{ return 1; }}\n")
    monkeypatch.setattr(build, "SOURCES", [source])
    monkeypatch.setattr(build, "MAIN", source)
    first = build.build()
    assert build.build() == first
    source.write_text(f"{EXPORT} int f(void) {{ return 2; }}\n")
    second = build.build()
    assert [ctypes.CDLL(str(path)).f() for path in (first, second)] == [1, 2]
    source.write_text("not C\n")
    with pytest.raises(UserError, match="failed"):
        build.build()
    assert sorted((tmp_path / "libraries").iterdir()) == sorted([first, second])
