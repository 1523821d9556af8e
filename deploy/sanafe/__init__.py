"""Networks on a chip for the simulator SANA-FE: written as its YAML, and its answers read back. Never imports it."""
