"""What is kept of a run: its rows, its files, and who writes them."""
