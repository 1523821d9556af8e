"""A campaign of hostile files: sound ones of every reader, mutated by seed, each read in a process of its own."""
