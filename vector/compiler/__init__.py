"""Record a training step once, replay it as plain numpy calls."""

from .step import CompiledStep, compile

__all__ = ["CompiledStep", "compile"]
