"""Backends: what runs a network, by Lava or without it; all of them give the same integers."""
