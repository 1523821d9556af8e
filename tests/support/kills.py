"""Processes that are killed between two steps that they take in the file system."""

import os
import signal
import sys
from itertools import count

STEPS = {"ctypes.dlsym", "open", "os.mkdir", "os.remove", "os.rename", "os.rmdir"}
"""Python's own audit events: whatever a process may do to files, and the look-up of a function of the C library."""


def killed_before_step(number, work):
    """Do some work in another process, which SIGKILL ends right before a step; False if it was done before that."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            steps = count(1)

            def kill(event, _):
                if event in STEPS and next(steps) == number:
                    os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(kill)
            work()
            status = 0
        finally:
            os._exit(status)
    _, ended = os.waitpid(process, 0)
    assert os.WIFSIGNALED(ended) or os.WEXITSTATUS(ended) == 0
    return os.WIFSIGNALED(ended)
