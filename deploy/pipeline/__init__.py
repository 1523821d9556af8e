"""The steps of each command, from files to files: they return data and print nothing."""
