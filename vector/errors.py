"""The errors that name a line of the user's, and that line."""

from __future__ import annotations

import linecache
import os
import sys
from typing import NoReturn

import numpy as np


class RecordingError(RuntimeError):
    """A step does something that cannot be recorded, or a recorded step was asked for what it was not recorded for."""


def refuse(what: str, instead: str = "") -> NoReturn:
    raise RecordingError(f"{users_line()}: a recorded step cannot {what}{'; ' + instead if instead else ''}")


HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
NUMPY = os.path.dirname(os.path.abspath(np.__file__)) + os.sep


def users_line() -> str:
    """File, number and text of the innermost line that is neither ours nor numpy's."""
    frame = sys._getframe()
    while frame.f_back and frame.f_code.co_filename.startswith((HERE, NUMPY)):
        frame = frame.f_back
    file, number = frame.f_code.co_filename, frame.f_lineno
    return f"{os.path.basename(file)}:{number}: `{linecache.getline(file, number).strip()}`"
