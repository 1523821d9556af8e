"""Lava Processes and their models. Every module here imports Lava, which is repaired first where Python needs it."""

from spikecut import lava_repairs

lava_repairs.install()
