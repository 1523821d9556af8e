"""Networks of others and of spikecut's own training, as float networks."""
