"""The player in a real browser: by button, keyboard and slider, at desk and on a phone."""

from pathlib import Path

import pytest

import scalar
import viz
from scalar import Value
from viz.maths.notation import decimal, number

HOSTILE = "<script>x=1</script>"

By = pytest.importorskip("selenium.webdriver.common.by", reason="no selenium to drive a browser with").By
Keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
pytestmark = pytest.mark.browser


def expression(a: float = 2.0, b: float = -3.0, c: float = 6.5) -> tuple[Value, dict[str, Value]]:
    leaves = {"a": Value(a, "a"), "b": Value(b, "b"), "c": Value(c, "c")}
    return (leaves["a"] * leaves["b"] + leaves["c"]).tanh(), leaves


@pytest.fixture
def player(browser, tmp_path: Path):
    browser.get(viz.play(expression()[0], tmp_path / "page.html").as_uri())
    yield browser
    assert browser.get_log("browser") == []


def text(browser, name: str) -> str:
    return browser.find_element(By.ID, name).text


def table(browser) -> dict[str, list[str]]:
    rows = [
        [cell.text for cell in row.find_elements(By.TAG_NAME, "td")]
        for row in browser.find_elements(By.CSS_SELECTOR, "#rows tr")
    ]
    return {row[0]: row[2:] for row in rows}


def card(browser, label: str) -> list[str]:
    for group in browser.find_elements(By.CSS_SELECTOR, "#picture .node"):
        texts = [each.text.strip() for each in group.find_elements(By.TAG_NAME, "text")]
        if texts[0] == label:
            return texts
    raise AssertionError(label)


def test_buttons_step_forward_and_back(player) -> None:
    click = {name: player.find_element(By.ID, name).click for name in ("first", "back", "next", "last")}
    assert text(player, "count") == "step 0 of 9"
    assert card(player, "L") == ["L", "= tanh(a × b + c)", "·", ""]
    click["next"]()
    assert (text(player, "phase"), text(player, "lines")) == ("Forward →", "a * b = 2.0 * -3.0 = -6.0")
    click["last"]()
    assert text(player, "count") == "step 9 of 9"
    assert not player.find_element(By.ID, "next").is_enabled()
    click["back"]()
    assert text(player, "count") == "step 8 of 9"
    click["first"]()
    assert text(player, "phase") == "Start"


def test_keys_step_forward_and_back(player) -> None:
    body = player.find_element(By.TAG_NAME, "body")
    for key, step in [
        (Keys.ARROW_RIGHT, 1),
        (Keys.ARROW_RIGHT, 2),
        (Keys.ARROW_LEFT, 1),
        (Keys.END, 9),
        (Keys.HOME, 0),
    ]:
        body.send_keys(key)
        assert text(player, "count") == f"step {step} of 9"
    body.send_keys(" ")
    assert player.find_element(By.ID, "play").get_attribute("aria-label") == "Pause"
    body.send_keys(" ")
    assert player.find_element(By.ID, "play").get_attribute("aria-label") == "Play"


def test_every_backward_frame_says_what_python_says(player) -> None:
    frames = viz.steps(expression()[0])
    for _ in range(3):
        player.find_element(By.ID, "next").click()
    for frame in frames:
        player.find_element(By.ID, "next").click()
        assert text(player, "sentence") == frame.sentence
        lines = [item.text.replace("\n", " ") for item in player.find_elements(By.CSS_SELECTOR, "#lines li")]
        assert lines == [part.text for part in frame.contributions]


def test_what_fires_is_lit_with_its_edges(player) -> None:
    for _ in range(6):
        player.find_element(By.ID, "next").click()
    fires = player.find_elements(By.CSS_SELECTOR, "#picture .node.fires")
    assert [each.get_attribute("aria-label") for each in fires] == ["a * b = -6.0, gradient 0.786448"]
    assert len(player.find_elements(By.CSS_SELECTOR, "#picture .edge.lit.backward")) == 2


def test_a_slider_changes_a_leaf_and_the_numbers_are_pythons(player) -> None:
    player.find_element(By.ID, "last").click()
    slider = player.find_element(By.CSS_SELECTOR, "#sliders input[aria-label=a]")
    before = table(player)
    slider.send_keys(Keys.ARROW_LEFT * 7)
    typed = player.find_element(By.CSS_SELECTOR, "#sliders input[aria-label='a, as a number']")
    a = float(typed.get_attribute("value"))
    assert a != 2.0
    root, leaves = expression(a=a)
    root.backward()
    found = table(player)
    assert found != before
    for name, node in {**leaves, "L": root}.items():
        assert found[name] == [decimal(node.data), decimal(node.grad)]
        assert card(player, name)[-2:] == [number(node.data), f"grad {number(node.grad, signed=True)}"]
    player.find_element(By.ID, "reset").click()
    assert table(player) == before
    typed.clear()
    typed.send_keys("-0.25")
    assert table(player)["a"] == ["-0.25", decimal(scalar.grad(*(lambda r, x: (r, x["a"]))(*expression(a=-0.25))))]


def test_a_node_tells_its_history(player) -> None:
    player.find_element(By.CSS_SELECTOR, "#rows button").click()
    assert text(player, "whose") == "History of a"
    events = player.find_elements(By.CSS_SELECTOR, "#events button")
    assert [each.text.split("\n")[-1] for each in events] == ["step 6, backward", "step 7, backward, complete"]
    events[0].click()
    assert text(player, "count") == "step 6 of 9"


def test_it_plays_to_the_end(player) -> None:
    player.execute_script("document.getElementById('speed').options[3].value = '20'")
    player.find_element(By.CSS_SELECTOR, "#speed").send_keys("5")
    player.find_element(By.ID, "play").click()
    wait = pytest.importorskip("selenium.webdriver.support.wait").WebDriverWait
    wait(player, 10).until(lambda driver: text(driver, "count") == "step 9 of 9")
    assert player.find_element(By.ID, "play").get_attribute("aria-label") == "Play"


def test_a_hostile_label_stays_text(browser, tmp_path: Path) -> None:
    out = Value(2.0, HOSTILE) * Value(3.0, "</script>")
    browser.get(viz.play(out, tmp_path / "page.html").as_uri())
    browser.find_element(By.ID, "last").click()
    assert table(browser)[HOSTILE] == table(browser)["</script>"][::-1] == ["2.0", "3.0"]
    assert card(browser, HOSTILE)[1:] == ["2", "grad +3"]
    assert browser.execute_script("return typeof window.x") == "undefined"
    assert len(browser.find_elements(By.TAG_NAME, "script")) == 1
    assert browser.get_log("browser") == []


def test_the_tab_key_goes_from_the_picture_to_the_buttons_and_the_inputs(player) -> None:
    for _ in range(4):
        player.find_element(By.ID, "next").click()
    player.execute_script("document.getElementById('formula').focus()")
    names = []
    for _ in range(12):
        focused = player.switch_to.active_element
        names.append(focused.get_attribute("aria-label") or focused.text)
        focused.send_keys(Keys.TAB)
    assert names[:3] == ["Formula", "The graph; select a node for its history", "L = 0.462117, gradient 1.0"]
    assert names[3:10] == ["To the start", "One step back", "Play", "One step on", "To the end", "Step", "Speed"]
    assert names[10:] == ["step 4 of 9", "Reset"]


def test_a_large_picture_is_shown_whole_on_request(browser, tmp_path: Path) -> None:
    node = Value(0.5, "x")
    for _ in range(60):
        node = node.tanh()
    browser.get(viz.play(node, tmp_path / "page.html").as_uri())
    width = "return document.getElementById('picture').scrollWidth / document.getElementById('picture').clientWidth"
    button = browser.find_element(By.ID, "whole")
    assert browser.execute_script(width) > 2
    button.click()
    assert (browser.execute_script(width), button.get_attribute("aria-pressed")) == (1, "true")
    button.click()
    assert browser.execute_script(width) > 2
    browser.get(viz.play(Value(0.5, "x").tanh(), tmp_path / "page.html").as_uri())
    assert not browser.find_element(By.ID, "whole").is_displayed()


def test_cards_bear_the_names_of_the_maths(browser, tmp_path: Path) -> None:
    x = [Value(0.1 * i) for i in range(6)]
    out = scalar.sum([each * each for each in x]) + Value(1.0, "w") * Value(2.0, "w")
    browser.get(viz.play(out, tmp_path / "page.html").as_uri())
    shown = [card.text.split("\n")[0] for card in browser.find_elements(By.CSS_SELECTOR, "#picture .node")]
    assert sorted(table(browser)) == sorted(name.split(" = ")[0].replace("×", "*") for name in shown)


def test_every_control_has_a_name(player) -> None:
    for element in player.find_elements(By.CSS_SELECTOR, "button, input, select, a, [role=button]"):
        shown = element.is_displayed()
        assert not shown or element.accessible_name, element.get_attribute("outerHTML")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_print_stands_out_from_its_ground(player, scheme: str) -> None:
    """WCAG 2: a contrast of at least 4.5 to 1 for all text."""
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    player.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    player.find_element(By.ID, "last").click()
    pairs = player.execute_script("""
        const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
        const rgb = (colour) => { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
          return [...canvas.getImageData(0, 0, 1, 1).data]; };
        const ground = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
          if (!c.endsWith(", 0)")) return c; } };
        const pairs = [];
        for (const e of document.querySelectorAll("h1, h2, p, td, th, li, button, select, label, pre, small, span"))
          if (e.textContent.trim() && e.offsetParent)
            pairs.push([rgb(getComputedStyle(e).color), rgb(ground(e)), e.textContent]);
        for (const e of document.querySelectorAll("#picture text")) {
          const path = e.closest(".node")?.querySelector("path");
          const fill = path ? getComputedStyle(path).fill : ground(e.closest("section"));
          pairs.push([rgb(getComputedStyle(e).fill), rgb(fill), e.textContent]);
        }
        return pairs;""")
    player.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

    def light(rgba: list[int]) -> float:
        parts = [x / 255 for x in rgba[:3]]
        parts = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    assert len(pairs) > 40
    for ink, ground, what in pairs:
        low, high = sorted((light(ink), light(ground)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (what, ink, ground)


def test_a_phone_shows_all_of_it_without_scrolling_sideways(player) -> None:
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    player.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        assert player.execute_script("return document.documentElement.scrollWidth") <= 390
        for name in ("first", "back", "play", "next", "last"):
            box = player.find_element(By.ID, name).rect
            assert box["width"] >= 44 and box["height"] >= 44
        for _ in range(7):
            player.find_element(By.ID, "next").click()
        assert text(player, "count") == "step 7 of 9"
    finally:
        player.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
