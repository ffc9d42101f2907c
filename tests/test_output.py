"""Standard streams that are closed, full or no longer read, and a user without a home: no traceback, no damage."""

import sys

import pytest

from tests.project import Project

RESULTS = ("metrics/**/*", "models/*", "data/**/*", "dvc.lock")
FULL = "Cannot write the output: No space left on device.\n"


def test_a_program_works_without_its_standard_streams(project: Project) -> None:
    before = project.files(*RESULTS)

    def ends(command: str, status: int, errors: str = "") -> None:
        # A Python that starts in the usual way: the server of quick_start would open the streams itself.
        ended = project.run("bash", "-o", "pipefail", "-c", f"{sys.executable} -m {command}", check=False)
        assert (ended.returncode, ended.stderr) == (status, errors)
        assert project.files(*RESULTS) == before

    ends("stages.check <&- >&- 2>&-", 0)
    ends("stages.train weight_decay 2>&-", 0)
    ends("stages.select 2>/dev/full", 0)
    ends("commands.repair >/dev/full", 1, FULL)
    ends("stages.summary >/dev/full", 1, FULL)
    ends("stages.summary | { exec <&-; sleep 3; }", 128 + 13)  # SIGPIPE


def test_a_user_without_a_home_can_run_the_commands(project: Project) -> None:
    user = ("unshare", "--user", "--map-user=12345", "env", "--unset=HOME", "--unset=USER", "--unset=LOGNAME")
    if project.run(*user, "true", check=False).returncode != 0:
        pytest.skip("this system does not allow user namespaces")
    # It calls `dvc`, which would crash.
    project.run(*user, sys.executable, "-m", "commands.report")
    assert "Calibration" in project.read("report.html").decode()
