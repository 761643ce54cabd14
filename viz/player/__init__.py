"""Forward and backward pass as a page to step through and to play with."""
