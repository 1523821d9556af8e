"""What a run leaves: its rows, its summary, its folder and its journal."""
