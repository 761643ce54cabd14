"""The player in a real browser: by button, keyboard and slider, at desk and on a phone."""

from pathlib import Path

import pytest
from browsing import faint_print, window

import scalar
import viz
from scalar import Value
from viz.__main__ import FUNCTIONS
from viz.expression import parse
from viz.maths.notation import decimal, number

HOSTILE = "<script>x=1</script>"

By = pytest.importorskip("selenium.webdriver.common.by", reason="no selenium to drive a browser with").By
Keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
WebDriverWait = pytest.importorskip("selenium.webdriver.support.wait").WebDriverWait
pytestmark = pytest.mark.browser


def expression(a: float = 2.0, b: float = -3.0, c: float = 6.5) -> tuple[Value, dict[str, Value]]:
    leaves = {"a": Value(a, "a"), "b": Value(b, "b"), "c": Value(c, "c")}
    return (leaves["a"] * leaves["b"] + leaves["c"]).tanh(), leaves


def chain() -> Value:
    """A graph too wide for a phone."""
    node = Value(0.5, "x")
    for i in range(10):
        node = (node * Value(0.9, f"w{i}")).tanh() if i % 5 == 0 else node.sin()
    return node


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
    WebDriverWait(player, 10).until(lambda driver: text(driver, "count") == "step 9 of 9")
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
    player.find_element(By.ID, "last").click()
    assert faint_print(player, scheme) == []


def test_a_phone_shows_all_of_it_without_scrolling_sideways(player) -> None:
    with window(player, 390, 844):
        assert player.execute_script("return document.documentElement.scrollWidth") <= 390
        for name in ("first", "back", "play", "next", "last"):
            box = player.find_element(By.ID, name).rect
            assert box["width"] >= 44 and box["height"] >= 44
        for _ in range(7):
            player.find_element(By.ID, "next").click()
        assert text(player, "count") == "step 7 of 9"


def test_on_a_phone_the_result_is_in_sight_and_no_button_covers_a_card(browser, tmp_path: Path) -> None:
    browser.get(viz.play(chain(), tmp_path / "page.html").as_uri())
    with window(browser, 390, 844):
        browser.execute_script("fit()")
        result, button = (browser.find_element(By.ID, name).rect for name in ("result", "whole"))
        picture = browser.find_element(By.ID, "picture").rect
        assert result["y"] + result["height"] < picture["y"] < 844 / 2
        assert button["y"] + button["height"] <= picture["y"]
        assert text(browser, "result") == f"L = {decimal(chain().data)}"


def test_steps_in_quick_succession_keep_the_node_in_sight(browser, tmp_path: Path) -> None:
    moving = {"features": [{"name": "prefers-reduced-motion", "value": "no-preference"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", moving)
    browser.get(viz.play(chain(), tmp_path / "page.html").as_uri())
    with window(browser, 390, 844):
        seen = browser.execute_async_script("""
            const done = arguments[0];
            let left = 17;
            const press = () => { at("next").click(); if (--left) setTimeout(press, 40); else setTimeout(look, 900); };
            const look = () => {
              const card = cards[result.frames[frame].node].group.getBoundingClientRect();
              const view = at("picture").getBoundingClientRect();
              done([frame, card.left >= view.left && card.right <= view.right]);
            };
            press();""")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert seen == [17, True]


def test_a_tapped_node_brings_its_history_up(browser, tmp_path: Path) -> None:
    browser.get(viz.play(chain(), tmp_path / "page.html").as_uri())
    with window(browser, 390, 844):
        browser.execute_script("select(2)")
        top, end = browser.execute_script("""
            const box = at("events").getBoundingClientRect();
            return [box.top, at("controls").getBoundingClientRect().top - box.bottom];""")
        assert top > 0 and end > 0


@pytest.mark.parametrize("size", [(320, 256), (390, 844), (1280, 720), (1920, 1080)], ids=str)
def test_nothing_is_cut_in_any_window(browser, tmp_path: Path, size: tuple[int, int]) -> None:
    browser.get(viz.play(expression()[0], tmp_path / "page.html").as_uri())
    with window(browser, *size):
        for large in ("false", "true"):
            browser.execute_script(f"setLarge({large})")
            assert browser.execute_script("return document.documentElement.scrollWidth") <= size[0]
            if size[0] > 1000:  # with room for all of it
                inside = browser.execute_script("""
                    const view = at("picture").getBoundingClientRect();
                    return cards.every(({ group }) => {
                      const box = group.getBoundingClientRect();
                      return box.left >= view.left && box.right <= view.right && box.bottom <= view.bottom;
                    });""")
                assert inside


def test_the_step_stands_in_the_address_and_comes_back(browser, tmp_path: Path) -> None:
    page = viz.play(expression()[0], tmp_path / "page.html").as_uri()
    browser.get(f"{page}#step=4")
    assert text(browser, "count") == "step 4 of 9"
    browser.find_element(By.ID, "next").click()
    assert browser.find_element(By.ID, "count").get_attribute("href").endswith("#step=5")
    WebDriverWait(browser, 5).until(lambda driver: driver.current_url == f"{page}#step=5")
    allowed = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    browser.execute_cdp_cmd("Browser.grantPermissions", allowed)
    browser.find_element(By.ID, "copy").click()
    WebDriverWait(browser, 5).until(lambda driver: text(driver, "copied") == "copied")
    assert browser.execute_async_script("navigator.clipboard.readText().then(arguments[0])") == f"{page}#step=5"


def test_arrowheads_turn_in_the_backward_pass(player) -> None:
    def heads(kind: str) -> list[str]:
        found = player.find_elements(By.CSS_SELECTOR, f"#picture .lit .{kind}")
        return [each.value_of_css_property("visibility") for each in found]

    player.find_element(By.ID, "next").click()
    assert (heads("head"), heads("tail")) == (["visible"] * 2, ["hidden"] * 2)
    for _ in range(5):
        player.find_element(By.ID, "next").click()
    assert (heads("head"), heads("tail")) == (["hidden"] * 2, ["visible"] * 2)


def test_sliders_suit_the_size_of_their_number(browser, tmp_path: Path) -> None:
    out = Value(0.001, "lr") * Value(3e5, "g") + Value(0.0, "zero")
    browser.get(viz.play(out, tmp_path / "page.html").as_uri())
    sliders = browser.find_elements(By.CSS_SELECTOR, "#sliders input[type=range]")
    bounds = [[float(each.get_attribute(key)) for key in ("min", "max", "step")] for each in sliders]
    assert bounds == [[-0.001, 0.003, 1e-5], [-3e5, 9e5, 10_000.0], [-1.0, 1.0, 0.01]]
    sliders[0].send_keys(Keys.ARROW_RIGHT)
    assert table(browser)["lr"][0] == "0.00101"


def test_a_condition_is_shown_and_decided_anew(browser, tmp_path: Path) -> None:
    node = parse("where(x > 0, x, 0.1*x)", {"x": -1.5}, FUNCTIONS, Value)
    browser.get(viz.play(node, tmp_path / "page.html").as_uri())
    browser.find_element(By.ID, "last").click()
    assert table(browser) == {
        "0.1": ["0.1", ""],
        "0.1 * x": ["-0.15", "1.0"],
        "x": ["-1.5", "0.1"],
        "L": ["-0.15", "1.0"],
    }
    assert "where(x > 0, x, 0.1 * x)" in browser.find_element(By.ID, "rows").text
    typed = browser.find_element(By.CSS_SELECTOR, "#sliders .number")
    typed.clear()
    typed.send_keys("2")
    assert table(browser)["L"] == ["2.0", "1.0"] and table(browser)["x"] == ["2.0", "1.0"]
    assert not browser.find_element(By.ID, "note").is_displayed()


def test_the_printed_sheet_has_every_step_or_blanks(player) -> None:
    told = [frame.sentence for frame in viz.steps(expression()[0])]
    for blanks in (False, True):
        player.execute_script("at('blanks').checked = arguments[0]; dispatchEvent(new Event('beforeprint'))", blanks)
        sheet = player.execute_script("return at('sheet').textContent")
        shown = player.execute_script("return at('picture').textContent")
        assert [sentence in sheet for sentence in told] == [not blanks] * 6
        assert ("0.4621" in sheet + shown) is not blanks
        assert ("dL/da += dL/d(a * b) * b = ________" in sheet) is blanks
        player.execute_script("dispatchEvent(new Event('afterprint'))")
    assert player.execute_script("return at('sheet').textContent") == ""


def test_the_theme_can_be_chosen(player) -> None:
    ground = "return getComputedStyle(document.body).backgroundColor"
    colours = []
    for name in ("light", "dark", "system"):
        player.find_element(By.ID, "theme").click()
        assert player.find_element(By.ID, "theme").accessible_name == f"Theme: {name}"
        colours.append(player.execute_script(ground))
    assert colours[0] == colours[2] != colours[1]


def test_a_cell_of_a_notebook_plays(browser, tmp_path: Path) -> None:
    root, _ = expression()
    root.label = "é <b>"
    cell = tmp_path / "cell.html"
    cell.write_text(f"<!doctype html><meta charset=utf-8>{viz.play(root)._repr_html_()}", encoding="utf-8")
    browser.get(cell.as_uri())
    browser.switch_to.frame(0)
    result = WebDriverWait(browser, 10).until(lambda page: page.find_elements(By.ID, "result"))[0]
    assert WebDriverWait(browser, 10).until(lambda page: result.text) == f"é <b> = {decimal(root.data)}"
    browser.find_element(By.ID, "last").click()
    assert "step 9 of 9" in browser.find_element(By.ID, "count").text
    browser.switch_to.default_content()
    assert browser.get_log("browser") == []
