"""Whatever ends a run on Lava, at whatever moment: the exit code says so, no process and no memory is left."""

import os
import random
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from held_run import until
from left_behind import children, used_by
from networks import random_inputs, random_network

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.backends.lava.blocks import quiet
from spikecut.deploy.backends.lava.cpu import run_lava
from spikecut.deploy.backends.lava.graph import LavaGraph
from spikecut.signals import deferred


@pytest.fixture(autouse=True)
def endings_are_heeded():
    """Even where the tests run under nohup or in the background of a script, which their processes would inherit."""
    handlers = {signal.SIGHUP: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def arguments(workshop):
    return ["run", workshop / "qcfs", "--dataset", "digits", "--samples", 3, "--hardware", "loihi2"]


def to_the_command(run, number):
    os.kill(run.pid, number)


def to_all(run, number):
    os.killpg(run.pid, number)


def to_one_process(run, number):
    os.kill(random.choice(run.processes), number)


STARTING = [
    (signal.SIGINT, to_the_command, 0),
    (signal.SIGTERM, to_all, 2),
    (signal.SIGTERM, to_one_process, 4),
    (signal.SIGINT, to_the_command, 6),
    (signal.SIGHUP, to_all, 8),
    (signal.SIGINT, to_all, "held"),
]


@pytest.mark.parametrize(("number", "send", "state"), STARTING)
def test_a_signal_while_lava_starts_ends_the_command(server, arguments, tmp_path, number, send, state):
    with server.run(tmp_path / "folder", arguments) as run:
        run.reaches(lambda: run.held if state == "held" else len(run.processes) >= state)
        send(run, number)
        assert run.end() == 130, run.said
        assert run.said == "spikecut: interrupted; nothing half-written was left\n"
        assert run.nothing_is_left()


def test_ctrl_c_again_and_again_changes_nothing(server, arguments, tmp_path):
    with server.run(tmp_path / "folder", arguments) as run:
        run.reaches(lambda: len(run.processes) >= 5)
        while run.alive:
            to_all(run, signal.SIGINT)
        assert run.end() == 130, run.said
        assert "Traceback" not in run.said
        assert run.nothing_is_left()


def test_a_command_that_is_killed_takes_its_processes_and_memory_along(server, arguments, tmp_path):
    for kill in (to_the_command, to_all):
        with server.run(tmp_path / kill.__name__, arguments) as run:
            run.reaches(lambda run=run: run.held)
            assert len(run.processes) >= 5
            kill(run, signal.SIGKILL)
            assert run.end() == -signal.SIGKILL
            assert run.nothing_is_left()


def test_processes_that_are_all_killed_are_noticed(server, arguments, tmp_path):
    with server.run(tmp_path / "folder", arguments) as run:
        run.reaches(lambda: run.held)
        for pid in run.processes:
            os.kill(pid, signal.SIGKILL)
        assert run.end() == 2, run.said
        assert "of the simulator died" in run.said and run.said.count("\n") == 1
        assert run.nothing_is_left()


def caught(pid):
    """The signals that a process has a handler for, as a mask."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
    return int(line.split()[1], 16)


@pytest.mark.parametrize(
    ("number", "state"),
    [
        (signal.SIGTERM, lambda pid: caught(pid) & 1 << (signal.SIGHUP - 1)),
        (signal.SIGHUP, lambda pid: "h5py" in Path(f"/proc/{pid}/maps").read_text()),
    ],
)
def test_a_signal_while_the_command_is_imported_ends_it(arguments, number, state):
    command = [sys.executable, "-m", "spikecut", *map(str, arguments)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        until(lambda: process.poll() is not None or state(process.pid))
        process.send_signal(number)
        _, said = process.communicate()
    assert process.returncode == 130 and said == "spikecut: interrupted; nothing half-written was left\n"


IN_A_DESTRUCTOR = """
import signal, time
from spikecut.__main__ import main
from spikecut.deploy.cli import main as cli

class Cleared:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)

def command():
    Cleared()
    time.sleep(60)

cli.main = command
main()
"""


def test_a_signal_that_python_drops_comes_again():
    """What is raised in a destructor, Python only writes to the terminal."""
    done = subprocess.run([sys.executable, "-c", IN_A_DESTRUCTOR], capture_output=True, text=True, check=False)
    assert done.returncode == 130 and done.stderr == "spikecut: interrupted; nothing half-written was left\n"


def test_a_signal_that_is_ignored_stays_ignored():
    """As under nohup."""
    command = [sys.executable, "-m", "spikecut", "version"]
    handler = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            while process.poll() is None:
                process.send_signal(signal.SIGHUP)
        assert process.returncode == 0
    finally:
        signal.signal(signal.SIGHUP, handler)


def test_deferred_signals_come_at_the_end_and_handlers_are_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    reached = []
    with pytest.raises(KeyboardInterrupt), deferred():
        signal.raise_signal(signal.SIGINT)
        reached.append("the end")
    assert reached
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def named(*_, **__):
    raise AssertionError("a semaphore with a name: killed in this moment, the process leaves it in /dev/shm")


def test_a_graph_outlives_the_thread_that_started_it_and_names_no_memory(monkeypatch):
    monkeypatch.setattr("multiprocessing.synchronize.SemLock.__init__", named)
    network = random_network(1, dense_only=True)
    inputs = random_inputs(network, 2)
    played = []
    with LavaGraph(network) as graph:
        thread = threading.Thread(target=lambda: played.append(graph.play(inputs[:, :1])))
        thread.start()
        thread.join()
        played.append(graph.play(inputs[:, 1:]))
        assert not used_by([os.getpid(), *children(os.getpid())])
    expected = run_batched(network, inputs)
    for n, each in enumerate(played):
        np.testing.assert_array_equal(each.scores[0], expected.scores[:, n])


def test_graphs_in_two_threads_leave_the_programs_streams(capsys):
    networks = [random_network(seed, dense_only=True) for seed in (1, 2)]
    streams, filters, traces = (sys.stdout, sys.stderr), list(warnings.filters), {}

    def play(n):
        for _ in range(4):  # one of which forks while the other does
            traces[n] = run_lava(networks[n], random_inputs(networks[n], 2))

    threads = [threading.Thread(target=play, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sys.stdout, sys.stderr) == streams and warnings.filters == filters
    for n, network in enumerate(networks):
        np.testing.assert_array_equal(traces[n].scores, run_batched(network, random_inputs(network, 2)).scores)


def test_quiet_hushes_its_own_thread_only_and_ends(capsys):
    streams, filters = (sys.stdout, sys.stderr), list(warnings.filters)
    entered, go_on = threading.Event(), threading.Event()

    def hushed():
        with quiet():
            print("chatter")
            entered.set()
            go_on.wait()

    with quiet():
        thread = threading.Thread(target=hushed)
        thread.start()
        entered.wait(0.2)  # in vain: one at a time
        print("chatter")
    entered.wait()
    kept = sys.stdout
    print("one")
    go_on.set()
    thread.join()
    kept.write("two\n")
    print("three")
    assert capsys.readouterr().out == "one\ntwo\nthree\n"
    assert (sys.stdout, sys.stderr) == streams and warnings.filters == filters


def test_python_without_docstrings_is_refused_by_name():
    script = "from spikecut.deploy.backends.lava.blocks import require_lava; require_lava()"
    done = subprocess.run([sys.executable, "-OO", "-c", script], capture_output=True, text=True, check=False)
    assert "BackendError" in done.stderr.splitlines()[-1] and "python -OO" in done.stderr.splitlines()[-1]
