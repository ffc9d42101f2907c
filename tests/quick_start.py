"""Programs that start with their libraries loaded, so that hundreds of them do not each spend seconds on imports.

Two small programs, `python` and `dvc`, come first on the path of the tests' projects. They pass arguments, environment,
folder and open files to a server that has loaded PyTorch, DVC and the other libraries, but none of the project's
modules. It forks a process in which the stage or command runs, with its own command line, and which returns its exit
status. Until then the small program waits, passes signals on, and if it is killed, so is the process. But the process
is no child of the one that has started it: what a test of SIGTERM, of a kill of DVC alone, or of the process tree
needs, starts in the usual way. So do programs with variables that Python or a library reads as it starts.
"""

import atexit
import ctypes
import gc
import importlib
import marshal
import os
import pickle
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from pathlib import Path

from tests import quick_client

# Imported for the libraries that they need, and then forgotten: a process loads those of its own folder.
MODULES = [
    f"stages.{name}" for name in ("check", "evaluate", "plot", "prepare", "select", "summary", "theory", "train")
]
MODULES += [f"replication.{name}" for name in ("analyse", "audit", "fingerprint", "replicate", "run", "worker")]
MODULES += ["benchmarks.breakdown", "benchmarks.timing", "lenet5.classify"]
MODULES += [f"commands.{name}" for name in ("compare", "experiments", "report", "reproduce", "verify")]
OURS = ("benchmarks", "commands", "lenet5", "replication", "stages", "tests")
LIBRARIES = [
    "celery.worker.worker", "dulwich.porcelain", "dulwich.server", "dulwich.worktree", "dvc.cachemgr",
    "dvc.cli.parser", "dvc.data_cloud", "dvc.dirs", "dvc.render.convert", "dvc.repo.artifacts",
    "dvc.repo.experiments.apply", "dvc.repo.experiments.executor.local", "dvc.repo.experiments.queue.celery",
    "dvc.repo.experiments.queue.tasks", "dvc.repo.experiments.queue.tempdir",
    "dvc.repo.experiments.queue.workspace", "dvc.repo.experiments.run", "dvc.repo.experiments.show",
    "dvc.repo.graph", "dvc.repo.index", "dvc.repo.metrics.diff", "dvc.repo.open_repo", "dvc.repo.plots",
    "dvc.repo.reproduce", "dvc.stage.cache", "dvc.ui.table", "dvc.utils.hydra", "dvc.utils.strictyaml",
    "dvc_data.hashfile.db.local", "dvc_data.index.checkout", "dvc_task.proc.manager",
    "fsspec.implementations.memory", "hydra._internal.config_loader_impl", "kombu.transport.filesystem", "networkx",
    "platformdirs", "pygit2", "pytest", "rich.text", "scmrepo.fs", "vl_convert",
]  # fmt: skip
ROOT = Path(__file__).parents[1]
FOLDER = "QUICK_START"  # the environment variable with the folder of the two programs
# Variables that Python or a library reads as it starts
AT_START = {"LC_ALL", "OMP_NUM_THREADS", "PYTHONOPTIMIZE", "PYTHONSAFEPATH", "PYTHONWARNINGS", "TZ"}
TITLE = " " * 1000  # room for the command line of a process
# Without the packages of the environment, which take time to find: -I, -S. Other calls of `python` start as usual.
CLIENT = """#!{python} -IS
import sys
module = "dvc" if {program!r} == "dvc" else sys.argv[2] if sys.argv[1:2] == ["-m"] else ""
if module.split(".")[0] in {packages}:
    sys.path.append({root!r})
    from tests import quick_client
    quick_client.main({address!r}, module, sys.argv[1 if module == "dvc" else 3:])
import os
os.execv({python!r}, [{python!r}, *sys.argv[1:]])
"""


def start() -> None:
    """Start the server and write the two programs, for this process and those that it starts."""
    folder, root = Path(tempfile.mkdtemp()), str(ROOT)
    address = folder / "socket"
    for program in ("python", "dvc"):
        names = {"python": sys.executable, "program": program, "packages": ("dvc", *OURS)}
        client = CLIENT.format(**names, root=root, address=str(address))
        (folder / program).write_text(client)
        (folder / program).chmod(0o755)
    server = subprocess.Popen([sys.executable, "-m", "tests.quick_start", str(address), TITLE], cwd=root)
    atexit.register(shutil.rmtree, folder)
    atexit.register(server.kill)
    os.environ[FOLDER] = str(folder)


def programs() -> Path:
    """Return the folder of the two programs, as soon as the server is ready."""
    if FOLDER not in os.environ:
        start()
    folder = Path(os.environ[FOLDER])
    deadline = time.monotonic() + 300
    while not (folder / "socket").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return folder


def serve(address: Path) -> None:
    for module in (*MODULES, *LIBRARIES):
        importlib.import_module(module)
    for name in [name for name in sys.modules if name.split(".")[0] in OURS]:
        del sys.modules[name]
    sys.path.remove(str(Path.cwd()))
    sys.executable = str(address.with_name("python"))  # what the project's programs start, starts like them
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that ended children leave no zombies
    # What the libraries would clean up at the end of each process takes longer than many a stage.
    weakref.finalize._registry.clear()  # type: ignore[attr-defined]
    gc.collect()
    gc.freeze()  # so that no process looks through the libraries' objects for garbage
    with socket.socket(socket.AF_UNIX) as server:
        partial = address.with_suffix(".partial")
        server.bind(str(partial))
        server.listen(100)
        partial.rename(address)
        while True:
            connection, _ = server.accept()
            if os.fork() == 0:
                server.close()
                answer(connection)
            connection.close()


def answer(connection: socket.socket) -> None:
    """Run what the client requests in this process, and end it."""
    status = 255
    try:
        size, files, _, _ = socket.recv_fds(connection, 8, 3)
        content = b""
        while len(content) < int.from_bytes(size, "big"):
            content += connection.recv(1 << 16)
        module, arguments, folder, environment, cores, ignored, before = marshal.loads(content)
        for target, file in enumerate(files):
            os.dup2(file, target)
            os.close(file)
        os.setpgid(0, 0)
        for number in quick_client.SIGNALS:
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, signal.SIG_IGN if number in ignored else default)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        gc.disable()  # the process ends before its garbage matters
        threading.Thread(target=listen, args=(connection,), daemon=True).start()
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        os.sched_setaffinity(0, cores)
        set_command_line(f"{module} {' '.join(arguments)}")
        status = run(module, arguments, before)
    finally:
        os.chdir("/")  # a folder of this process could not be unmounted
        connection.sendall(bytes([status]))
        os._exit(status)


def listen(connection: socket.socket) -> None:
    """Pass the client's signals to this process, Ctrl-C also to those that it has started, as a terminal does; and kill
    all of them as soon as the client is killed."""
    while number := connection.recv(1):
        (os.killpg if number[0] == signal.SIGINT else os.kill)(os.getpid(), number[0])
    os.killpg(0, signal.SIGKILL)


def set_command_line(text: str) -> None:
    """Let the system show this command line, by which commands.repair recognises a process, in place of the server's.
    A last byte that is not zero tells it that the text ends at the first zero."""
    start, end = map(int, Path("/proc/self/stat").read_text().rpartition(")")[2].split()[45:47])
    size = end - start - 1
    ctypes.memmove(start, text.encode()[: size - 1].ljust(size, b"\0") + b"\1", size + 1)


def run(module: str, arguments: list[str], before: bytes) -> int:
    """Run a module as `python -m` does, and return the exit status."""
    if module != "dvc":
        sys.path[:0] = [str(Path.cwd()), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv[1:] = arguments
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    status = 0
    try:
        if before:
            sys.path.append(str(ROOT))
            pickle.loads(before)()
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return status & 255


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
