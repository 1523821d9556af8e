"""What a report shows, gathered from run folders and replayed from their bundles."""
