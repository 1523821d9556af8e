"""Adapters: what the neuron modules of each framework do, one file a framework."""
