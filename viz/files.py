"""Files that appear whole or not at all."""

import secrets
from pathlib import Path

__all__ = ["write"]


def write(path: Path, content: bytes | str) -> Path:
    """Write `content`, text as UTF-8, to a file beside `path` that then takes its place; return `path`."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path
