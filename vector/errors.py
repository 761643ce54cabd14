"""The errors that name a line of the user's, and that line."""

from __future__ import annotations

import linecache
import os
import sys
import threading
from typing import NoReturn

import numpy as np

Place = tuple[str, int]  # file and line


class RecordingError(RuntimeError):
    """A step does something that cannot be recorded, or a recorded step was asked for what it was not recorded for."""


class Refusals(threading.local):
    """The refusals of the recording under way, if there is one: the step may have swallowed them."""

    seen: list[RecordingError] | None = None


refusals = Refusals()


def refuse(what: str, instead: str = "") -> NoReturn:
    error = RecordingError(f"{users_line()}: a recorded step cannot {what}{'; ' + instead if instead else ''}")
    if refusals.seen is not None:
        refusals.seen.append(error)
    try:
        raise error
    finally:
        del error  # whose traceback would hold it


HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
NUMPY = os.path.dirname(os.path.abspath(np.__file__)) + os.sep
OURS = HERE, NUMPY


def users_place() -> Place:
    """File and number of the innermost line that is neither ours nor numpy's."""
    frame = sys._getframe()
    while frame.f_back and frame.f_code.co_filename.startswith(OURS):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def users_line() -> str:
    """File, number and text of the innermost line that is neither ours nor numpy's."""
    return line_at(users_place())


def line_at(place: Place) -> str:
    """File, number and text of a line."""
    file, number = place
    return f"{os.path.basename(file)}:{number}: `{linecache.getline(file, number).strip()}`"
