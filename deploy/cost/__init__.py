"""Counts of events times a hardware file: latency and energy, with bands."""
