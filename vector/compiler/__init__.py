"""Record a training step once, replay it as plain numpy calls."""

from .step import CompiledStep, compile
from .verify import StaleRecording

__all__ = ["CompiledStep", "StaleRecording", "compile"]
