"""Notebooks, run by this Python as a reader runs them."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def run(notebook: Any, folder: Path = ROOT) -> Any:
    """The notebook, executed in `folder`. Skips the test where nbclient is not installed."""
    nbclient = pytest.importorskip("nbclient", reason="no nbclient to run the notebook with")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    client = nbclient.NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        coalesce_streams=True,  # what a cell prints comes in as many pieces as there were moments
    )
    client.create_kernel_manager()
    client.km.kernel_cmd = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    client.execute(env=os.environ | {"PYTHONPATH": path, "JUPYTER_PLATFORM_DIRS": "1"})
    return notebook


def of_cells(sources: Iterable[str]) -> Any:
    """A fresh notebook with these code cells."""
    v4 = pytest.importorskip("nbformat.v4", reason="no nbformat to make a notebook with")
    return v4.new_notebook(cells=[v4.new_code_cell(source) for source in sources])


def outputs(cell: Any) -> list[dict[str, str]]:
    """What a cell shows: for each output its texts by kind."""
    found = []
    for output in cell["outputs"]:
        data = {output["name"]: output["text"]} if output["output_type"] == "stream" else output["data"]
        found.append({kind: "".join(text) for kind, text in data.items()})
    return found


def size(cell: Any) -> int:
    """How many bytes a cell shows."""
    return sum(len(text.encode()) for shown in outputs(cell) for text in shown.values())
