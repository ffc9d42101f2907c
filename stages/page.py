"""`dvc plots show` as one HTML file that needs no network: `make plots`, or `python -m stages.page REVISION ...` for
`dvc plots diff REVISION ...`.

DVC's own page loads Vega from a content delivery network and its images from a folder beside it. Here the scripts come
from the package vl-convert-python, and the images stand in the file.
"""

import base64
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import vl_convert

from stages.errors import UserError
from stages.files import write_atomically

PAGE = Path("plots.html")
VEGA_LITE = "5.21"  # of the major version that .dvc/plots names in $schema
REMOTE_SCRIPT = re.compile(r'<script src="https://[^"]*(vega[^"]*)"></script>\s*')
IMAGE = re.compile(r'src="(static/[^"]*)"')
SIDE_BY_SIDE = "<style>body > div { display: inline-block; vertical-align: top; margin: 1em }</style>"


def self_contained(html: str, folder: Path) -> str:
    """DVC's page `html`, whose images are in `folder`, with everything it loads written into it. Raises UserError when
    something would still be loaded from elsewhere."""
    # A script's own text must not end its element, hence the backslash.
    scripts = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)
    bundle = scripts.replace("</script", r"<\/script")
    html = REMOTE_SCRIPT.sub("", html)
    html = html.replace("</head>", f"<script>{bundle}</script>{SIDE_BY_SIDE}</head>", 1)
    html = IMAGE.sub(lambda found: f'src="{data_url(folder / found[1])}"', html)
    if left := re.findall(r'(?:src|href)="(?!data:)([^"]*)"', html.replace(bundle, "")):
        raise UserError(f"This version of DVC makes a page that also loads {', '.join(left)}; the page is not written.")
    return html


def data_url(image: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(image.read_bytes()).decode()}"


def main(*revisions: str) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        command = ["dvc", "plots", *(["diff", *revisions] if revisions else ["show"]), "--out", temporary]
        # What DVC warns of is for the user to see.
        if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode != 0:
            raise UserError(f"`{' '.join(command[:-2])}` failed; what failed is said above.")
        html = self_contained((folder / "index.html").read_text(encoding="utf-8"), folder)
    write_atomically(PAGE, html.encode())
    print(f"Open {PAGE.resolve().as_uri()} in a browser.")


if __name__ == "__main__":
    main(*sys.argv[1:])
