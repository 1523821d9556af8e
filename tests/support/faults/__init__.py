"""The campaign of faults: commands that are hit at a random moment, and what has to be right afterwards."""
