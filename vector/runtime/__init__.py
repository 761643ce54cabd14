"""What runs under the ops: matrix products, memory and threads."""
