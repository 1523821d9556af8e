"""Published measurements on silicon, and what spikecut estimates for the same work."""
