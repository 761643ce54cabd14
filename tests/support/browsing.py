"""What tests of pages in a browser share: windows of other sizes, and print that is hard to read."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PAIRS = """
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const rgb = (colour) => { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data]; };
const ground = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
  if (!c.endsWith(", 0)")) return c; } };
const pairs = [];
const printed = "h1, h2, p, td, th, li, button, select, label, pre, small, span, textarea, a, output, code";
for (const e of document.querySelectorAll(printed))
  if ((e.textContent.trim() || e.value) && e.offsetParent)
    pairs.push([rgb(getComputedStyle(e).color), rgb(ground(e)), e.textContent]);
for (const e of document.querySelectorAll("#picture text, figure text")) {
  const path = e.closest(".node")?.querySelector("path");
  const fill = path ? getComputedStyle(path).fill : ground(e.closest("section"));
  pairs.push([rgb(getComputedStyle(e).fill), rgb(fill), e.textContent]);
}
return pairs;"""


@contextmanager
def window(driver: Any, width: int, height: int) -> Iterator[None]:
    """A window of another size; up to a tablet's, it is one to touch."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 800}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        yield
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def faint_print(driver: Any, scheme: str) -> list[Any]:
    """Texts with a contrast below 4.5 to 1, which WCAG 2 asks for, in the light or the dark scheme."""
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    pairs = driver.execute_script(PAIRS)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

    def light(rgba: list[int]) -> float:
        parts = [x / 255 for x in rgba[:3]]
        parts = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    assert len(pairs) > 40
    found = []
    for ink, ground, what in pairs:
        low, high = sorted((light(ink), light(ground)))
        if (high + 0.05) / (low + 0.05) < 4.5:
            found.append((what, ink, ground))
    return found
