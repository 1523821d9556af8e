"""The command `spikecut`, also as `python -m spikecut`: from its first moment to its last, a signal ends it cleanly."""

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from spikecut.signals import ENDING

AT_ONCE_S = 0.2
AGAIN_S = 0.01


def main() -> None:
    """Entry point: exit codes 0, 1, 2, and 130 after Ctrl-C, SIGTERM, or SIGHUP of a terminal that was closed."""
    heeded = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]  # not SIGHUP under nohup
    interrupt = _Interrupt()
    sys.unraisablehook = interrupt.lost
    for number in heeded:
        signal.signal(number, interrupt)
    try:
        try:
            from spikecut.deploy.cli.main import main as command  # takes a moment

            command()
        finally:
            _heed_no_more(heeded)  # all is done: what is left is to go
    except KeyboardInterrupt:  # in that moment, or a second one while the first was dealt with
        _heed_no_more(heeded)
        print("spikecut: interrupted; nothing half-written was left", file=sys.stderr)
        sys.exit(130)


def _heed_no_more(heeded: list[signal.Signals]) -> None:
    """Ignore these signals from now on, however many come meanwhile."""
    while True:
        with suppress(KeyboardInterrupt):
            for number in heeded:
                signal.signal(number, signal.SIG_IGN)
            return


class _Interrupt:
    """Raises KeyboardInterrupt; what comes at once after another signal would only disturb its handling."""

    def __init__(self) -> None:
        self.until = 0.0
        self.number = int(signal.SIGINT)

    def __call__(self, number: int, _: Any) -> None:
        now = time.monotonic()
        if now >= self.until:
            self.until, self.number = now + AT_ONCE_S, number
            raise KeyboardInterrupt

    def lost(self, unraisable: Any) -> None:
        """Python drops what is raised while it clears away an object: the signal comes again a moment later."""
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            sys.__unraisablehook__(unraisable)
            return
        self.until = 0.0
        again = threading.Timer(AGAIN_S, os.kill, (os.getpid(), self.number))
        again.daemon = True
        again.start()


if __name__ == "__main__":
    main()
