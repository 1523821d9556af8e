"""What the options of commands may be: their choices by name, and their defaults from a file."""
