"""The command, held: a run that a test breaks off stands still after some samples, so that it cannot end before.

`python held_run.py` imports Lava once. Each line that it reads, JSON of a request, becomes a process and session of its
own that runs the command; it prints the number of that process, and at its end the exit code. It reaps the process at
the next line only: until then its number is no other's, and signals to it do no harm.
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Event

from left_behind import GUARD_S, alive, session, used_by
from networks import random_network

from spikecut.signals import ENDING

HELD = "held"
OUTPUT = "output"


def hold_after(samples, folder):
    """Let the cutoff's policy stand still after so many samples of a run on Lava."""
    from spikecut.deploy.cutoff.topk import TopK

    init, begun = TopK.init, []

    def held(self, *arguments):
        if len(begun) == samples:
            (folder / HELD).touch()
            Event().wait()
        begun.append(1)
        return init(self, *arguments)

    TopK.init = held


def heeding(command):
    """Do a command, whose handlers are in place by now, with the signals that may have come before."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    command()


def serve():
    for name in (
        "matplotlib.pyplot",
        "sklearn.datasets",
        "spikecut.deploy.cli.run",
        "spikecut.deploy.pipeline.run",
    ):
        import_module(name)

    from spikecut.__main__ import main
    from spikecut.deploy.backends.lava.graph import LavaGraph
    from spikecut.deploy.cli import main as cli

    graph = LavaGraph(random_network(1))
    graph._anchor.compile(graph._config)  # imports what the first compilation does
    for line in sys.stdin:
        request = json.loads(line)
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # in the new process, until the command heeds them
        pid = os.fork()
        if pid == 0:
            os.setsid()
            for number in ENDING:  # whatever runs the tests may ignore some, as nohup does
                signal.signal(number, signal.SIG_DFL)
            folder = Path(request["folder"])
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            for stream in (1, 2):
                os.dup2(os.open(folder / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), stream)
            hold_after(request["hold"], folder)
            cli.main = partial(heeding, cli.main)
            sys.argv = ["spikecut", *request["arguments"]]
            main()
            return
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        print(pid, flush=True)
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        print(ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status, flush=True)
        sys.stdin.readline()
        os.waitpid(pid, 0)


def until(condition):
    """Wait for a condition, which no machine takes GUARD_S for."""
    since = time.monotonic()
    while not condition():
        assert time.monotonic() - since < GUARD_S
        time.sleep(0.005)


class Run:
    """A held run under way.

    named: what the run had in shared memory by name when `look` was called last. code: the exit code, after `end`.
    """

    def __init__(self, server, folder, hold, arguments):
        self.server, self.folder, self.named, self.code = server, folder, set(), None
        request = {"folder": str(folder), "hold": hold, "arguments": list(map(str, arguments))}
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        self.pid = int(server.stdout.readline())

    @property
    def held(self):
        return (self.folder / HELD).exists()

    @property
    def alive(self):
        return alive(self.pid)

    @property
    def processes(self):
        """All of its processes but the command's own."""
        return [pid for pid in session(self.pid) if pid != self.pid]

    def reaches(self, state):
        """Wait until `state()`, while the command goes on."""
        until(lambda: state() or not self.alive)
        assert self.alive, self.said
        self.named |= used_by(session(self.pid))

    def end(self):
        """Wait until the command has ended; its exit code."""
        until(lambda: not self.alive)
        self.code = int(self.server.stdout.readline())
        return self.code

    @property
    def said(self):
        return (self.folder / OUTPUT).read_text()

    def nothing_is_left(self):
        """Wait until its processes are gone, and check its memory."""
        until(lambda: not session(self.pid))
        return not [entry for entry in self.named if entry.exists()]


class Server:
    """Held runs, one after the other."""

    def __init__(self, process):
        self.process = process

    @contextmanager
    def run(self, folder, arguments, hold=0):
        """One run; whatever is left of it is killed."""
        folder.mkdir(exist_ok=True)
        run = Run(self.process, folder, hold, arguments)
        try:
            yield run
        finally:
            while left := session(run.pid):
                for pid in left:
                    os.kill(pid, 9)
                time.sleep(0.01)
            if run.code is None:
                run.end()
            self.process.stdin.write("\n")
            self.process.stdin.flush()


@contextmanager
def server():
    """A server of held runs."""
    command = [sys.executable, __file__]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    # In a session of its own, so that it does not count as left behind; it ends with its input.
    with subprocess.Popen(command, text=True, start_new_session=True, **pipes) as process:
        yield Server(process)
        process.stdin.close()


if __name__ == "__main__":
    serve()
