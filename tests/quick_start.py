"""Programs that start with their libraries loaded, so that hundreds of them do not each spend seconds on imports.

Two small programs, `python` and `dvc`, come first on the path of the tests' projects. They pass arguments, environment,
folder and open files to a server that has loaded PyTorch, DVC and the other libraries, but none of the project's
modules. It forks a process in which the stage or command runs, and which returns its exit status. Until then the small
program waits, and if it is killed, so is the process. Other signals do not reach it, and its command line is that of
the server, so that commands.repair takes the locks of such a DVC for stale ones. Commands that a test interrupts, and
those whose failure calls repair beside other DVCs, start in the usual way, as do all that get environment variables.
"""

import atexit
import importlib
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
from pathlib import Path

# Imported for the libraries that they need, and then forgotten: a process loads those of its own folder.
MODULES = [
    f"stages.{name}" for name in ("check", "evaluate", "plot", "prepare", "select", "summary", "theory", "train")
]
MODULES += [f"replication.{name}" for name in ("analyse", "audit", "fingerprint", "replicate", "run", "worker")]
MODULES += ["benchmarks.breakdown", "benchmarks.timing", "lenet5.classify"]
MODULES += [f"commands.{name}" for name in ("compare", "experiments", "report", "reproduce", "verify")]
OURS = ("benchmarks", "commands", "lenet5", "replication", "stages", "tests")
LIBRARIES = [
    f"dvc.{name}" for name in ("cli.parser", "data_cloud", "render.convert", "stage.cache", "utils.strictyaml")
]
LIBRARIES += [f"dvc.repo.{name}" for name in ("artifacts", "experiments.run", "graph", "index", "plots", "reproduce")]
LIBRARIES += [f"dvc.repo.experiments.{name}" for name in ("executor.local", "queue.celery", "queue.tasks")]
LIBRARIES += ["dvc_data.index", "hydra._internal.config_loader_impl", "torch._dynamo", "vl_convert"]
FOLDER = "QUICK_START"  # the environment variable with the folder of the two programs
# Without the packages of the environment, which take time to find: -I, -S. Other calls of `python` start as usual.
CLIENT = """#!{python} -IS
import sys
sys.path.append({root!r})
from tests import quick_start
module = "dvc" if {program!r} == "dvc" else sys.argv[2] if sys.argv[1:2] == ["-m"] else ""
if module.split(".")[0] in ("dvc", *quick_start.OURS):
    quick_start.request({address!r}, module, sys.argv[1 if module == "dvc" else 3:])
quick_start.os.execv({python!r}, [{python!r}, *sys.argv[1:]])
"""


def start() -> None:
    """Start the server and write the two programs, for this process and those that it starts."""
    folder, root = Path(tempfile.mkdtemp()), str(Path(__file__).parents[1])
    address = folder / "socket"
    for program in ("python", "dvc"):
        client = CLIENT.format(python=sys.executable, program=program, root=root, address=str(address))
        (folder / program).write_text(client)
        (folder / program).chmod(0o755)
    server = subprocess.Popen([sys.executable, "-m", "tests.quick_start", str(address)], cwd=root)
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


def request(address: str, module: str, arguments: list[str]) -> None:
    """Let the server run a module in this folder, with this process's environment and files, and end as it does."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        inherited = (str(Path.cwd()), dict(os.environ), os.sched_getaffinity(0))
        content = pickle.dumps((module, arguments, inherited))
        socket.send_fds(connection, [len(content).to_bytes(8, "big")], [0, 1, 2])
        connection.sendall(content)
        status = connection.recv(1)
    os._exit(status[0] if status else 255)


def serve(address: Path) -> None:
    for module in (*MODULES, *LIBRARIES):
        importlib.import_module(module)
    for name in [name for name in sys.modules if name.split(".")[0] in OURS]:
        del sys.modules[name]
    sys.path.remove(str(Path.cwd()))
    sys.executable = str(address.with_name("python"))  # what the project's programs start, starts like them
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that ended children leave no zombies
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
        module, arguments, (folder, environment, cores) = pickle.loads(content)
        for target, file in enumerate(files):
            os.dup2(file, target)
            os.close(file)
        os.setpgid(0, 0)
        threading.Thread(target=end_with, args=(connection,), daemon=True).start()
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        os.sched_setaffinity(0, cores)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        status = run(module, arguments)
    finally:
        connection.sendall(bytes([status]))
        os._exit(status)


def end_with(connection: socket.socket) -> None:
    """Kill this process, and those that it has started, as soon as the client is killed."""
    if not connection.recv(1):
        os.killpg(0, signal.SIGKILL)


def run(module: str, arguments: list[str]) -> int:
    """Run a module as `python -m` does, and return the exit status."""
    if module != "dvc":
        sys.path.insert(0, str(Path.cwd()))
    sys.argv[1:] = arguments
    status = 0
    try:
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
