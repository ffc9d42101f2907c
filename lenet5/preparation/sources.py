"""Where the four Fashion-MNIST files come from: data/raw, the mirror that torchvision uses, or Debian's package.

Whatever the source, a file is used only if its uncompressed content has the sha256 given in params.yaml. Files that are
already in data/raw are never changed.
"""

import gzip
import hashlib
import http.client
import io
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
import zlib
from collections.abc import Callable
from pathlib import Path

from lenet5.data.dataset import Data
from lenet5.preparation.prepare import idx_size, prepare
from lenet5.support.errors import UserError
from lenet5.support.files import write_atomically
from lenet5.support.params import DataSettings
from lenet5.support.paths import RAW

MIRROR = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = Path("usr/share/datasets/fashion-mnist")
MAX_BYTES = 64 * 2**20  # the largest file has 47 MB, compressed 26 MB
SOCKET_TIMEOUT = 20.0  # seconds without a byte
DOWNLOAD_TIMEOUT = 600.0  # seconds for one file


class SourceError(Exception):
    """This source cannot provide the files; another may."""


def raw_folder() -> Path:
    """Return data/raw. The temporary folders of `dvc exp run --queue` and `--temp` lack what git ignores: there, return
    the folder of the project itself, which DVC_ROOT names, so that nothing is downloaded again."""
    shared = Path(os.environ.get("DVC_ROOT", ".")).resolve() / RAW
    return RAW if RAW.exists() or not shared.is_dir() else shared


def load_prepared(settings: DataSettings) -> Data:
    """Return the data set, downloaded if necessary, padded and split. Raises UserError if it is not available."""
    return prepare(raw_files(raw_folder(), settings.sha256.model_dump(by_alias=True)), settings)


def raw_files(folder: Path, sha256: dict[str, str]) -> dict[str, bytes]:
    """Return the uncompressed contents of the files in `sha256`, which maps names to expected digests.

    Missing files are fetched into `folder`. Raises UserError for a wrong file in `folder`, or if no source works.
    """
    paths = {name: path for name in sha256 if (path := raw_path(folder, name))}
    contents = {name: _read_raw(path, sha256[name]) for name, path in paths.items()}
    if len(contents) == len(sha256):
        print(f"Using the files in {folder}, verified by sha256.")
        return contents

    missing = {name: digest for name, digest in sha256.items() if name not in contents}
    sources: dict[str, Callable[[list[str]], dict[str, bytes]]] = {
        "the mirror": from_mirror,
        f"Debian's package {DEBIAN_PACKAGE}": from_debian,
    }
    failures = []
    for source, fetch in sources.items():
        try:
            compressed = fetch(list(missing))
            fetched = {name: _checked(compressed[name], digest, name) for name, digest in missing.items()}
        except SourceError as error:
            failures.append(f"{source}: {error}")
            print(f"Fashion-MNIST: {source} failed: {error}")
            continue
        for name in missing:
            write_atomically(folder / f"{name}.gz", compressed[name])
        print(f"Fashion-MNIST: {len(missing)} files from {source}, verified by sha256, stored in {folder}.")
        return contents | fetched
    raise UserError(_no_source(folder, list(sha256), list(missing), failures))


def raw_path(folder: Path, name: str) -> Path | None:
    """Return the path of a raw file, packed or not, which may have `.idx` for `-idx` in its name; or None."""
    names = (form + suffix for form in (name, name.replace("-idx", ".idx")) for suffix in ("", ".gz"))
    # A dangling link is the user's file too: reading it fails, whereas fetching would replace it.
    return next((path for path in map(folder.joinpath, names) if path.exists() or path.is_symlink()), None)


def from_mirror(names: list[str]) -> dict[str, bytes]:
    """Return the gzip files that the mirror serves."""
    return {name: _download(f"{MIRROR}{name}.gz") for name in names}


def from_debian(names: list[str]) -> dict[str, bytes]:
    """Return the gzip files of Debian's package: the installed one, or one that apt fetches into a temporary folder,
    which does not need root."""
    if all((Path("/") / DEBIAN_FOLDER / f"{name}.gz").exists() for name in names):
        return _read_folder(Path("/") / DEBIAN_FOLDER, names)
    with tempfile.TemporaryDirectory(prefix="fashion-mnist-") as temporary:
        folder = Path(temporary)
        (folder / "lists" / "partial").mkdir(parents=True)
        (folder / "cache" / "archives" / "partial").mkdir(parents=True)
        # With its own lists and cache, apt needs no root; its sandbox user could not enter our temporary folder.
        apt = ["apt-get", "-q", "-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache"]
        apt += ["-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20"]
        _call([*apt, "update"], folder)
        _call([*apt, "download", DEBIAN_PACKAGE], folder)
        packages = sorted(folder.glob("*.deb"))
        if not packages:
            raise SourceError(f"apt-get did not fetch {DEBIAN_PACKAGE}")
        _call(["dpkg-deb", "-x", str(packages[0]), str(folder / "unpacked")], folder)
        return _read_folder(folder / "unpacked" / DEBIAN_FOLDER, names)


def _download(url: str) -> bytes:
    deadline = time.monotonic() + DOWNLOAD_TIMEOUT
    content = bytearray()
    try:
        with urllib.request.urlopen(url, timeout=SOCKET_TIMEOUT) as response:
            while chunk := response.read1(2**20):
                content += chunk
                if len(content) > MAX_BYTES:
                    raise SourceError(f"{url} sent more than {MAX_BYTES} bytes")
                if time.monotonic() > deadline:
                    raise SourceError(f"{url} took longer than {DOWNLOAD_TIMEOUT:.0f} s")
    except (OSError, ValueError, http.client.HTTPException) as error:  # ValueError: an invalid http_proxy
        raise SourceError(f"{url}: {str(error) or type(error).__name__}") from None
    return bytes(content)


def _call(command: list[str], folder: Path) -> None:
    try:
        result = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT, check=False
        )
    except FileNotFoundError:
        raise SourceError(f"{command[0]} is not installed") from None
    except OSError as error:
        raise SourceError(f"{command[0]}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise SourceError(f"{command[0]} took longer than {DOWNLOAD_TIMEOUT:.0f} s") from None
    if result.returncode != 0:
        last_line = (result.stderr.strip() or result.stdout.strip() or "no message").splitlines()[-1]
        raise SourceError(f"{command[0]} failed: {last_line}")


def _read_folder(folder: Path, names: list[str]) -> dict[str, bytes]:
    try:
        return {name: (folder / f"{name}.gz").read_bytes() for name in names}
    except OSError as error:
        raise SourceError(f"{error.filename}: {error.strerror}") from None


def _read_raw(path: Path, digest: str) -> bytes:
    """Return the uncompressed content of a file in data/raw. Raises UserError if its sha256 is not `digest`."""
    try:
        content = path.read_bytes()
        return _checked(content, digest, path.name, limit=sys.maxsize)
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}. Fix this and run again.") from None
    except SourceError as error:
        raise UserError(
            f"{path} is damaged or belongs to another data set: {error}. "
            "Replace it, or move it away to have it downloaded."
        ) from None


def _checked(content: bytes, digest: str, name: str, limit: int = MAX_BYTES) -> bytes:
    """Return `content`, unpacked if it is gzip. Raises SourceError if the result does not have the sha256 `digest`."""
    if content[:2] == b"\x1f\x8b":
        try:
            content = gunzip(content, limit)
        except (OSError, EOFError, zlib.error) as error:
            raise SourceError(f"{name} is a damaged gzip file ({error})") from None
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise SourceError(f"{name} has {len(content)} bytes and the sha256 {found}, expected {digest}")
    return content


def gunzip(content: bytes, limit: int) -> bytes:
    """Return the unpacked content. Raises OSError, EOFError or zlib.error if it is damaged, or longer than `limit` or
    than the size in its IDX header: a small file can unpack to any size."""
    unpacked = bytearray()
    with gzip.GzipFile(fileobj=io.BytesIO(content), mode="rb") as file:
        while chunk := file.read(2**20):
            unpacked += chunk
            if len(unpacked) > (allowed := min(limit, idx_size(unpacked) or MAX_BYTES)):
                raise OSError(f"it unpacks to more than {allowed} bytes")
    return bytes(unpacked)


def _no_source(folder: Path, names: list[str], missing: list[str], failures: list[str]) -> str:
    files = "\n".join(f"  {folder}/{name}.gz   (or unpacked, without .gz)" for name in missing)
    known = [raw_path(folder, name) for name in names]
    others = [path.name for path in sorted(folder.glob("[!.]*")) if path not in known]
    unused = f"Present, but with other names: {', '.join(others)}\n" if others else ""
    tried = "\n".join(f"  {failure}" for failure in failures)
    return (
        f"The Fashion-MNIST files could not be downloaded. Missing:\n{files}\n{unused}"
        f"Tried:\n{tried}\n"
        "Do one of the following, then run the same command again:\n"
        f"  1. copy the files from another machine into {folder};\n"
        "  2. connect this machine to the internet (or set http_proxy);\n"
        f"  3. on Debian or Ubuntu: sudo apt-get install {DEBIAN_PACKAGE}"
    )
