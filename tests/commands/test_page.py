"""The page of `make plots`."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from commands.page import self_contained
from lenet5 import UserError
from tests.project import Project
from tests.stages.curves import put_committed_curves


def test_the_page_draws_every_plot_without_a_network(project: Project, tmp_path: Path) -> None:
    put_committed_curves(project)
    project.run("python", "-m", "commands.page")
    page = project.root / "plots.html"
    html = page.read_text()
    markup = re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    assert not re.findall(r'(?:src|href)="(?!data:)[^"]*"', markup)
    assert html.count('src="data:image/png;base64,') == 4
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("needs Chromium to open the page")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"]
    command += ["--virtual-time-budget=20000", f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom", page.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    plots = 4 + 2 * len(project.params()["techniques"])  # comparisons; a curve and a confusion matrix per technique
    assert len(re.findall(r"<svg[^>]*class=\"marks\"", dom)) == plots


def test_a_page_that_would_still_load_something_is_rejected(tmp_path: Path) -> None:
    html = '<html><head><script src="https://cdn.example.org/other.js"></script></head></html>'
    with pytest.raises(UserError, match=r"also loads https://cdn\.example\.org/other\.js"):
        self_contained(html, tmp_path)
