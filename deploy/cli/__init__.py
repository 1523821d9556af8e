"""The command line: options, and the wiring of each command to the pipeline."""
