"""Checkpoint → integer network → bundle. The package is also the function `spikecut.export`: see docs/api.md."""
