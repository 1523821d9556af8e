"""Losses of spiking networks."""
