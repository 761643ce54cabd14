"""The notebook runs from top to bottom and shows what it is stored with.

`python tests/project/test_tour.py` runs it and stores what it shows. Cells tagged `machine` show numbers
that may differ in the last digits from one machine to another.
"""

import json
import re
from typing import Any

import pytest
from notebooks import ROOT, outputs, run, size

TOUR = ROOT / "examples" / "tour.ipynb"


def tour() -> Any:
    """The notebook, run."""
    nbformat = pytest.importorskip("nbformat", reason="no nbformat to read the notebook with")
    return run(nbformat.read(TOUR, as_version=4))


def shown(cell: Any, numbers: bool) -> list[Any]:
    """What a cell shows: its text, whole or, without `numbers`, its beginning without them."""
    found = []
    for data in outputs(cell):
        texts = {kind: text for kind, text in data.items() if kind != "text/plain" or len(data) == 1}
        if picture := texts.pop("image/svg+xml", ""):  # what it says: where it stands is for Graphviz to choose
            texts["picture"] = " ".join(re.findall(r"<text[^>]*>([^<]*)<", picture))
        found.append(texts if numbers else {kind: re.sub(r"[\d.e+−-]+", "", text)[:20] for kind, text in texts.items()})
    return found


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_tour_shows_what_it_is_stored_with() -> None:
    stored = [cell for cell in json.loads(TOUR.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    for before, now in zip(stored, [cell for cell in tour()["cells"] if cell["cell_type"] == "code"], strict=True):
        exact = "machine" not in before["metadata"].get("tags", [])
        assert shown(now, exact) == shown(before, exact), "".join(before["source"])
        assert before["outputs"] or "import" in "".join(before["source"])
        assert size(now) < 100_000


if __name__ == "__main__":
    notebook = tour()
    for cell in notebook["cells"]:
        cell["metadata"].pop("execution", None)
        for output in cell.get("outputs", []):
            for kind in [kind for kind in output.get("data", {}) if kind == "text/plain" and len(output["data"]) > 1]:
                output["data"][kind] = ""
    notebook["metadata"] = {key: notebook["metadata"][key] for key in ("kernelspec",)}
    TOUR.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
