"""The graph as a picture: `draw` writes it down, `render` makes a file of it."""
