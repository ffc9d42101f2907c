"""Write `dvc plots show` as one HTML file that works offline: `make plots`.

`python -m commands.page REVISION ...` does the same for `dvc plots diff REVISION ...`.

DVC's own page loads Vega from a content delivery network and its images from a folder. In this one, the scripts of the
package vl-convert-python and the images are part of the file.
"""

from lenet5.support.process import set_up

set_up()

import base64
import re
import subprocess
import sys
from pathlib import Path

import vl_convert

from commands.interruption import end_together
from commands.repair import check_lock_files
from commands.scratch import run, temporary_folder
from lenet5.support.errors import UserError
from lenet5.support.files import write_atomically

PAGE = Path("plots.html")
VEGA_LITE = "5.21"  # of the major version in the $schema of .dvc/plots
REMOTE_SCRIPT = re.compile(r'<script src="https://[^"]*(vega[^"]*)"></script>\s*')
IMAGE = re.compile(r'src="(static/[^"]*)"')
SIDE_BY_SIDE = "<style>body > div { display: inline-block; vertical-align: top; margin: 1em }</style>"


def self_contained(html: str, folder: Path) -> str:
    """Return DVC's page `html`, whose images are in `folder`, with scripts and images included.

    Raises UserError if it would still load something.
    """
    scripts = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)
    # The text of a script must not close its element, hence the backslash.
    bundle = scripts.replace("</script", r"<\/script")
    html = REMOTE_SCRIPT.sub("", html)
    html = html.replace("</head>", f"<script>{bundle}</script>{SIDE_BY_SIDE}</head>", 1)
    html = IMAGE.sub(lambda found: f'src="{data_url(folder / found[1])}"', html)
    if left := re.findall(r'(?:src|href)="(?!data:)([^"]*)"', html.replace(bundle, "")):
        raise UserError(f"The page of this version of DVC also loads {', '.join(left)}, so it would not work offline.")
    return html


def data_url(image: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(image.read_bytes()).decode()}"


def main(*revisions: str) -> None:
    check_lock_files()
    with temporary_folder() as folder:
        command = [
            "dvc",
            "--wait-for-lock",
            "plots",
            *(["diff", *revisions] if revisions else ["show"]),
            "--out",
            str(folder),
        ]
        # DVC's warnings go to the user.
        if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode != 0:
            raise UserError("`dvc plots` failed; see the messages above.")
        if not (folder / "index.html").exists():
            run("dvc", "stage", "list")  # raises UserError with DVC's message if dvc.yaml cannot be read
            raise UserError("dvc.yaml defines no plots. Restore it, for example with `git checkout -- dvc.yaml`.")
        html = self_contained((folder / "index.html").read_text(encoding="utf-8"), folder)
    write_atomically(PAGE, html.encode())
    print(f"Open {PAGE.resolve().as_uri()} in a browser.")


if __name__ == "__main__":
    end_together()
    main(*sys.argv[1:])
