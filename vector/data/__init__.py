"""Data sets, found or fetched, and batches of them. `vector.datasets` offers what is public."""
