"""The signals that end a command, and keeping them off for a moment."""

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, `kill`, and a terminal that was closed."""


@contextmanager
def deferred() -> Iterator[None]:
    """What these signals do in this process, they do at the end instead; none is lost.

    For what must not break off half-way: Python loses an exception of a signal that comes during a fork. Only the main
    thread runs handlers of signals, so in any other there is nothing to do.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    with ExitStack() as at_end:
        at_end.callback(lambda: signal.raise_signal(came[0]) if came else None)
        for number in ENDING:
            handler = signal.getsignal(number)
            if callable(handler):  # neither ignored nor the system's default
                at_end.callback(signal.signal, number, handler)
                signal.signal(number, lambda number, _: came.append(number))
        yield
