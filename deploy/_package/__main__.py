"""The command `spikecut`, also as `python -m spikecut`: from its first moment to its last, a signal ends it cleanly."""

import signal
import sys
from typing import Any

from spikecut.signals import ENDING


def main() -> None:
    """Entry point: exit codes 0, 1, 2, and 130 after Ctrl-C, SIGTERM, or SIGHUP of a terminal that was closed."""
    heeded = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]  # not SIGHUP under nohup
    for number in heeded:
        signal.signal(number, _interrupt)
    try:
        try:
            from spikecut.deploy.cli.main import main as command  # takes a moment

            command()
        finally:
            for number in heeded:
                signal.signal(number, signal.SIG_IGN)  # all is done: what is left is to go
    except KeyboardInterrupt:  # in that moment, or a second one while the first was dealt with
        print("spikecut: interrupted; nothing half-written was left", file=sys.stderr)
        sys.exit(130)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
