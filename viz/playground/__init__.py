"""The playground: a page where anyone types an expression and plays it."""
