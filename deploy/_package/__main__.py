"""`python -m spikecut` is the command `spikecut`."""

from spikecut.deploy.cli import main

if __name__ == "__main__":
    main()
