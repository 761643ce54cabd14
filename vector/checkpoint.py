"""Checkpoint files, by their public path."""

from .training.checkpoint import CheckpointError, load, save

__all__ = ["CheckpointError", "load", "save"]
