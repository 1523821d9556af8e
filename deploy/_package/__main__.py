"""`python -m spikecut` is the command `spikecut`."""

import sys

from spikecut.deploy.cli import main

if __name__ == "__main__":
    sys.exit(main())
