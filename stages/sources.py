"""Where the four Fashion-MNIST files come from: data/raw, the mirror that torchvision names, or Debian's package.

Whatever the source, a file is used only when its uncompressed content has the sha256 that params.yaml asks for, and a
file that is already in data/raw is never changed.
"""

import gzip
import hashlib
import http.client
import io
import subprocess
import tempfile
import time
import urllib.request
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from stages.errors import UserError
from stages.files import write_atomically

DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = Path("usr/share/datasets/fashion-mnist")
MAX_BYTES = 64 * 2**20  # the largest file has 47 MB, or 26 MB compressed
SOCKET_TIMEOUT = 20.0  # seconds without a byte
DOWNLOAD_TIMEOUT = 600.0  # seconds for one file


class SourceError(Exception):
    """This source cannot serve the files; another may."""


def raw_files(folder: Path, sha256: dict[str, str]) -> dict[str, bytes]:
    """The uncompressed content of the files named in `sha256` (name -> expected digest).

    What `folder` lacks is fetched into it. Raises UserError for a wrong file in `folder` and when no source works.
    """
    contents = {}
    for name, digest in sha256.items():
        candidates = folder / name, folder / f"{name}.gz"
        # A link that leads nowhere is a user's file too: reading it fails, where fetching would replace it.
        path = next((path for path in candidates if path.exists() or path.is_symlink()), None)
        if path is not None:
            contents[name] = _read_raw(path, digest)
    if len(contents) == len(sha256):
        print(f"Fashion-MNIST: the files in {folder}, checked against their sha256.")
        return contents

    missing = {name: digest for name, digest in sha256.items() if name not in contents}
    sources: dict[str, Callable[[list[str]], dict[str, bytes]]] = {
        "torchvision's mirror": from_mirror,
        f"Debian's package {DEBIAN_PACKAGE}": from_debian,
    }
    failures = []
    for source, fetch in sources.items():
        try:
            compressed = fetch(list(missing))
            fetched = {name: _checked(compressed[name], digest, name) for name, digest in missing.items()}
        except SourceError as error:
            failures.append(f"{source}: {error}")
            print(f"Fashion-MNIST: not from {source}: {error}")
            continue
        for name in missing:
            write_atomically(folder / f"{name}.gz", compressed[name])
        print(f"Fashion-MNIST: {len(missing)} files from {source}, checked against their sha256, kept in {folder}.")
        return contents | fetched
    raise UserError(_no_source(folder, list(missing), failures))


def from_mirror(names: list[str]) -> dict[str, bytes]:
    """Download the gzip files that torchvision's FashionMNIST names; their md5 is checked before they are unpacked."""
    fashion_mnist = torchvision_fashion_mnist()
    md5 = dict(fashion_mnist.resources)
    files = {}
    for name in names:
        reasons = []
        for mirror in fashion_mnist.mirrors:
            try:
                content = _download(f"{mirror}{name}.gz")
            except SourceError as error:
                reasons.append(str(error))
                continue
            if hashlib.md5(content, usedforsecurity=False).hexdigest() == md5.get(f"{name}.gz"):
                files[name] = content
                break
            reasons.append(f"{mirror}{name}.gz sent {len(content)} bytes that are not the file (wrong md5)")
        else:
            raise SourceError("; ".join(reasons))
    return files


def from_debian(names: list[str]) -> dict[str, bytes]:
    """The gzip files of Debian's package: installed, or else fetched by apt into a temporary folder, without root."""
    if all((Path("/") / DEBIAN_FOLDER / f"{name}.gz").exists() for name in names):
        return _read_folder(Path("/") / DEBIAN_FOLDER, names)
    with tempfile.TemporaryDirectory(prefix="fashion-mnist-") as temporary:
        folder = Path(temporary)
        (folder / "lists" / "partial").mkdir(parents=True)
        (folder / "cache" / "archives" / "partial").mkdir(parents=True)
        # Lists and cache of our own need no root; apt's sandbox user could not enter a folder that is only ours.
        apt = ["apt-get", "-q", "-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache"]
        apt += ["-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20"]
        _call([*apt, "update"], folder)
        _call([*apt, "download", DEBIAN_PACKAGE], folder)
        packages = sorted(folder.glob("*.deb"))
        if not packages:
            raise SourceError(f"apt-get fetched no {DEBIAN_PACKAGE}")
        _call(["dpkg-deb", "-x", str(packages[0]), str(folder / "unpacked")], folder)
        return _read_folder(folder / "unpacked" / DEBIAN_FOLDER, names)


def torchvision_fashion_mnist() -> Any:
    """torchvision's FashionMNIST class, also where torchvision's compiled operators do not fit torch.

    PyPI's torchvision is linked against a CUDA torch. Beside a CPU-only torch its operators are not registered and the
    import stops at `torchvision::nms`. The data sets need none of them: their schemas alone let the import through.
    """
    try:
        from torchvision.datasets import FashionMNIST  # noqa: PLC0415
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        from torchvision.datasets import FashionMNIST  # noqa: PLC0415
    return FashionMNIST


def _download(url: str) -> bytes:
    deadline = time.monotonic() + DOWNLOAD_TIMEOUT
    content = bytearray()
    try:
        with urllib.request.urlopen(url, timeout=SOCKET_TIMEOUT) as response:
            while chunk := response.read1(2**20):
                content += chunk
                if len(content) > MAX_BYTES:
                    raise SourceError(f"{url} sends more than {MAX_BYTES} bytes")
                if time.monotonic() > deadline:
                    raise SourceError(f"{url} took longer than {DOWNLOAD_TIMEOUT:.0f} s")
    except (OSError, http.client.HTTPException) as error:
        raise SourceError(f"{url}: {error or type(error).__name__}") from None
    return bytes(content)


def _call(command: list[str], folder: Path) -> None:
    try:
        result = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT, check=False
        )
    except FileNotFoundError:
        raise SourceError(f"there is no {command[0]} on this machine") from None
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
    """A file of data/raw, as it is or gunzipped. Raises UserError when it is not what `digest` promises."""
    try:
        content = path.read_bytes()
        return _checked(content, digest, path.name)
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from None
    except SourceError as error:
        raise UserError(
            f"{path} is damaged or belongs to another data set: {error}. "
            "Replace it, or move it away to have it fetched; nothing was changed."
        ) from None


def _checked(content: bytes, digest: str, name: str) -> bytes:
    """`content`, unpacked if it is gzip, if that has the sha256 `digest`; else raises SourceError."""
    if content[:2] == b"\x1f\x8b":
        try:
            content = gunzip(content)
        except (OSError, EOFError, zlib.error) as error:
            raise SourceError(f"{name} is damaged gzip ({error})") from None
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise SourceError(f"{name} has {len(content)} bytes with sha256 {found}, not {digest}")
    return content


def gunzip(content: bytes) -> bytes:
    """Unpack, but never more than the largest file needs. Raises OSError, EOFError or zlib.error for damaged gzip."""
    with gzip.GzipFile(fileobj=io.BytesIO(content), mode="rb") as file:
        unpacked = file.read(MAX_BYTES + 1)
    if len(unpacked) > MAX_BYTES:
        raise OSError(f"it unpacks to more than {MAX_BYTES} bytes")
    return unpacked


def _no_source(folder: Path, missing: list[str], failures: list[str]) -> str:
    files = "\n".join(f"  {folder}/{name}.gz   (or unpacked, without .gz)" for name in missing)
    tried = "\n".join(f"  {failure}" for failure in failures)
    return (
        f"No source has the Fashion-MNIST files. Missing:\n{files}\n"
        f"Tried:\n{tried}\n"
        "Three ways to get them, then run the same command again:\n"
        f"  1. copy the files from any machine that has them into {folder};\n"
        "  2. connect this machine to the internet (or set http_proxy), and they are downloaded;\n"
        f"  3. on Debian or Ubuntu: sudo apt-get install {DEBIAN_PACKAGE}"
    )
