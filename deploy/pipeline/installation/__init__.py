"""What is installed: whether it works, and how what is missing is installed."""
