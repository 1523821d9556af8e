"""spikecut."""
