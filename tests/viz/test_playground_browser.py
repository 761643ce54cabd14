"""The playground by hand: typing, links, the three modes; on a desk and on a phone, by keyboard, in light and dark."""

from pathlib import Path
from urllib.parse import quote

import pytest
from browsing import faint_print, window

import scalar
import viz
from scalar import Value
from viz.maths.notation import decimal

By = pytest.importorskip("selenium.webdriver.common.by", reason="no selenium to drive a browser with").By
Keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
WebDriverWait = pytest.importorskip("selenium.webdriver.support.wait").WebDriverWait
pytestmark = pytest.mark.browser
PAGE = (Path(viz.__file__).parents[1] / "examples/playground.html").as_uri()
VALLEY = "e=(1-x)**2+5*(y-x**2)**2&v=x:-1,y:1.5&mode=descend&learn=x,y&rate=0.02"


@pytest.fixture
def visit(browser):
    """Opens the page at an address; at the end nothing may have gone wrong in it."""

    def go(address: str = ""):
        browser.get("about:blank")
        browser.get(f"{PAGE}#{address}")
        return browser

    yield go
    assert browser.get_log("browser") == []


def retype(driver, text: str) -> None:
    """As if pasted: every key typed would draw a picture."""
    driver.execute_script(
        "at('expression').value = arguments[0]; at('expression').dispatchEvent(new Event('input'))", text
    )


def text(driver, name: str) -> str:
    return driver.find_element(By.ID, name).text


def leaves(driver) -> dict[str, float]:
    return driver.execute_script(
        "return Object.fromEntries(nodes.flatMap((node, i) => node.leaf ? [[node.name, result.values[i]]] : []))"
    )


def test_typing_makes_the_graph_and_a_mistake_keeps_the_one_before(visit) -> None:
    page = visit("v=p:0.5,q:4")
    retype(page, "p*q")
    page.find_element(By.ID, "expression").send_keys(Keys.END + " + p")
    assert text(page, "result") == "L = 2.5"
    assert len(page.find_elements(By.CSS_SELECTOR, "#picture .node")) == 4
    retype(page, "p*q + 2p")
    assert text(page, "mistake").split("\n")[0] == "an operator is missing: write 2*p"
    assert page.find_element(By.CSS_SELECTOR, "#mistake pre").get_property("textContent") == "p*q + 2p\n       ^"
    box = page.find_element(By.ID, "expression")
    assert box.get_attribute("aria-invalid") == "true" and box.get_attribute("aria-describedby") == "mistake"
    assert text(page, "result") == "L = 2.5"
    retype(page, "log(p - p) * q")
    assert text(page, "mistake").split("\n")[0] == "log(p - p) is -inf, not a finite number"
    assert text(page, "result") == "L = -inf"
    retype(page, "p*q")
    assert text(page, "mistake") == ""


def test_a_link_brings_everything_back(visit) -> None:
    page = visit()
    retype(page, "w*x + b <")
    retype(page, "tanh(w*x + b)")
    for name, number in {"w": "-0.5", "x": "1e-3", "b": "7"}.items():
        box = page.find_element(By.CSS_SELECTOR, f"#sliders input[aria-label='{name}, as a number']")
        box.clear()
        box.send_keys(number)
    page.find_element(By.ID, "next").click()
    WebDriverWait(page, 5).until(lambda driver: "b:7&step=1" in driver.current_url)
    before, link = leaves(page), page.current_url.partition("#")[2]
    assert before == {"w": -0.5, "x": 0.001, "b": 7.0}
    visit(link)
    assert (leaves(page), text(page, "count")) == (before, "step 1 of 9")
    assert page.find_element(By.ID, "expression").get_attribute("value") == "tanh(w*x + b)"
    visit("e=a*%E0%A4%A&v=a:x&step=zz&mode=none")  # broken by hand
    assert text(page, "result") == "L = 0.462117"


def test_a_condition_decides_anew_as_its_input_moves(visit) -> None:
    page = visit(f"e={quote('where(t > x, x*x, -x)')}&v=t:1,x:2&step=9")
    assert leaves(page) == {"t": 1.0, "x": 2.0} and text(page, "result") == "L = -2.0"
    box = page.find_element(By.CSS_SELECTOR, "#sliders input[aria-label='t, as a number']")
    box.clear()
    box.send_keys("3")
    assert text(page, "result") == "L = 4.0"
    assert len(page.find_elements(By.CSS_SELECTOR, "#picture .edge.condition")) == 1


@pytest.mark.parametrize("zero", [True, False])
def test_it_descends_as_a_loop_in_python_does(visit, zero: bool) -> None:
    page = visit(VALLEY + ("" if zero else "&zero=off"))
    page.execute_script("for (let k = 0; k < 25; k++) descendOnce();")
    x, y = Value(-1.0, "x"), Value(1.5, "y")
    for _ in range(25):
        if zero:
            x.grad = y.grad = 0.0
        ((1 - x) ** 2 + 5 * (y - x**2) ** 2).backward()
        for p in (x, y):
            p.data -= 0.02 * p.grad
    found = leaves(page)
    assert [decimal(found["x"]), decimal(found["y"])] == [decimal(x.data), decimal(y.data)]
    loss = (1 - x) ** 2 + 5 * (y - x**2) ** 2
    assert text(page, "progress") == f"step 25, L = {decimal(loss.data)}"
    assert page.find_element(By.ID, "piled").is_displayed() is not zero
    assert (f" = {decimal(x.grad)}\n" in text(page, "update")) is not zero  # the sum that has piled up
    assert len(page.find_elements(By.CSS_SELECTOR, "#curve path")) == (1 if zero else 2)
    page.find_element(By.ID, "again").click()
    assert leaves(page) == {"x": -1.0, "y": 1.5} and text(page, "progress").startswith("step 0, ")


def test_the_descent_runs_pauses_and_says_when_numbers_leave_all_bounds(visit) -> None:
    page = visit("e=x**2&v=x:3&mode=descend&rate=0.1")
    page.find_element(By.ID, "run").click()
    WebDriverWait(page, 10).until(lambda driver: driver.execute_script("return trail.length") > 3)
    page.find_element(By.ID, "run").click()
    assert text(page, "run") == "Run"
    slope = page.find_element(By.ID, "slice").get_attribute("aria-label")
    assert slope.startswith("Loss along x: ") and "with slope" in slope
    page.execute_script("at('rate').value = 1e200; for (let k = 0; k < 4; k++) descendOnce();")
    assert "smaller learning rate" in text(page, "progress")


def test_a_moved_input_starts_the_descent_from_there(visit) -> None:
    page = visit("e=(w*x-y)**2&v=w:1,x:2,y:6&mode=descend")
    assert page.execute_script("return [...learned]") == ["w"]
    page.find_element(By.ID, "once").click()
    box = page.find_element(By.CSS_SELECTOR, "#sliders input[aria-label='w, as a number']")
    box.clear()
    box.send_keys("5")
    assert text(page, "progress") == "step 0, L = 16.0"


def test_gradients_are_hidden_until_they_are_predicted(visit) -> None:
    page = visit("e=a*b+b&v=a:2,b:-3&mode=predict")
    picture = "return document.getElementById('picture').textContent"
    rows = page.find_elements(By.CSS_SELECTOR, "#questions li")
    asked = {row.find_element(By.CLASS_NAME, "asked").text: row for row in rows}
    assert list(asked) == ["dL/dL", "dL/d(a * b)", "dL/da", "dL/db"]
    assert page.execute_script(picture).count("grad ?") == 4
    assert not page.find_element(By.ID, "now").is_displayed()
    page.execute_script("dispatchEvent(new Event('beforeprint'))")  # on paper, too
    assert "is an input" not in page.execute_script("return at('sheet').textContent")
    page.execute_script("dispatchEvent(new Event('afterprint'))")
    boxes = {name: row.find_element(By.TAG_NAME, "input") for name, row in asked.items()}
    boxes["dL/db"].send_keys("2" + Keys.TAB)
    assert asked["dL/db"].get_attribute("class") == "wrong"
    boxes["dL/db"].send_keys(Keys.BACKSPACE + "a + 1")
    assert asked["dL/db"].get_attribute("class") == "right"
    boxes["dL/da"].send_keys("-2.98")  # 1 % off is near enough
    assert asked["dL/da"].get_attribute("class") == "right"
    assert [each.get_attribute("aria-label") for each in page.find_elements(By.CSS_SELECTOR, "#picture .right")] == [
        "a = 2.0, gradient -3.0",
        "b = -3.0, gradient 3.0",
    ]
    assert text(page, "score") == "2 of 4 right"
    asked["dL/d(a * b)"].find_element(By.TAG_NAME, "button").click()
    assert asked["dL/d(a * b)"].find_element(By.CLASS_NAME, "hint").text == "dL/d(a * b) += dL/dL"
    page.find_element(By.ID, "reveal").click()
    assert page.execute_script(picture).count("grad ?") == 0
    assert len(page.find_elements(By.CSS_SELECTOR, "#picture .right")) == 2  # what was shown does not count
    assert text(page, "score") == "2 of 4 right"
    page.find_element(By.CSS_SELECTOR, "#modes input[value=step]").send_keys(Keys.SPACE)
    assert page.find_element(By.ID, "now").is_displayed()


def test_every_example_of_the_menu_opens(visit) -> None:
    page = visit()
    examples = page.execute_script("return LANGUAGE.examples.map(({ parts }) => parts)")
    for parts in examples:
        page.execute_script("location.hash = linkTo(arguments[0])", parts)
        WebDriverWait(page, 5).until(
            lambda driver, e=parts["e"]: driver.execute_script("return at('expression').value") == e
        )
        assert text(page, "mistake") == ""
        assert page.execute_script("return document.body.dataset.mode") == parts.get("mode", "step")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("address", ["step=9", f"{VALLEY}&zero=off", "mode=predict", "e=2a"])
def test_print_stands_out_from_its_ground(visit, scheme: str, address: str) -> None:
    assert faint_print(visit(address), scheme) == []


@pytest.mark.parametrize("size", [(320, 256), (390, 844), (1280, 720)], ids=str)
def test_nothing_is_cut_in_any_window(visit, size: tuple[int, int]) -> None:
    page = visit()
    with window(page, *size):
        for address in ("step=5", VALLEY, "mode=predict", "e=sum([a, b, c, d, e2]) * 2x"):
            visit(address)
            for large in ("false", "true"):
                page.execute_script(f"setLarge({large})")
                assert page.execute_script("return document.documentElement.scrollWidth") <= size[0], (address, large)


def test_every_control_has_a_name_and_is_reached_by_keyboard(visit) -> None:
    for address in ("", VALLEY, "mode=predict"):
        page = visit(address)
        kinds = "button:not(td *), input, select, textarea, a, svg[role], section[aria-label]"
        shown = "return [...document.querySelectorAll(arguments[0])].filter((element) => element.checkVisibility())"
        for element in page.execute_script(shown, kinds):
            assert element.accessible_name, element.get_attribute("outerHTML")[:200]
    page = visit()
    page.find_element(By.ID, "expression").send_keys(Keys.TAB)
    assert page.switch_to.active_element.accessible_name == "Step through"
    page.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert page.execute_script("return document.body.dataset.mode") == "descend"


def test_a_change_is_said_once_the_hand_rests(visit) -> None:
    page = visit("v=a:2,b:-3,c:6")
    page.find_element(By.CSS_SELECTOR, "#sliders input[aria-label=c]").send_keys(Keys.ARROW_RIGHT)
    WebDriverWait(page, 5).until(lambda driver: driver.execute_script("return at('said').textContent") != "")
    said = page.execute_script("return at('said').textContent")
    a, b, c = Value(2.0, "a"), Value(-3.0, "b"), Value(6.1, "c")
    out = (a * b + c).tanh()
    slopes = [f"dL/d{x.label} = {decimal(g)}" for x, g in zip((a, b, c), scalar.grad(out, [a, b, c]), strict=True)]
    assert said == "; ".join([f"L = {decimal(out.data)}", *slopes])
    assert page.find_element(By.ID, "said").get_attribute("role") == "status"


PLACES = """
const box = ({ group }) => {
  const { left, right, top, bottom } = group.getBoundingClientRect();
  return { left, right, top, bottom };
};
return arguments[0].map((text) => { shape = ""; at("expression").value = text; typed(0);
  return { boxes: cards.map(box), inputs: nodes.map((node) => node.inputs), names: nodes.map((node) => node.name) }; });
"""


def test_pictures_are_in_order(visit) -> None:
    """Cards apart, inputs before what they make, operands in the order of the formula, chains straight."""
    page = visit()
    texts = [*page.execute_script("return LANGUAGE.examples.map(({ parts }) => parts.e)")]
    texts += ["sin(cos(tanh(x*y)))", "a - b - c - d", "x*x*x + sin(x)*exp(-x**2) + x", "max([a, b, c]) - a*c + b/a"]
    for picture, shown in zip(page.execute_script(PLACES, texts), texts, strict=True):
        boxes = picture["boxes"]
        for i, a in enumerate(boxes):
            for b in boxes[:i]:
                apart = (
                    a["left"] >= b["right"],
                    b["left"] >= a["right"],
                    a["top"] >= b["bottom"],
                    b["top"] >= a["bottom"],
                )
                assert any(apart), shown
            before = [boxes[k] for k in picture["inputs"][i]]
            assert all(x["right"] < a["left"] for x in before) or all(x["bottom"] < a["top"] for x in before), shown
    boxes = dict(zip(*(page.execute_script(PLACES, ["a - b - c"])[0][key] for key in ("names", "boxes")), strict=True))
    assert boxes["a"]["top"] < boxes["b"]["top"] < boxes["c"]["top"]
    line = page.execute_script(PLACES, ["sin(cos(tanh(x)))"])[0]["boxes"]
    assert max(box["top"] for box in line) - min(box["top"] for box in line) < 1


TIMED = """
const start = performance.now();
at("expression").value = arguments[0];
typed(0);
return [performance.now() - start, nodes.length, at("mistake").textContent];
"""


def test_it_is_quick_also_with_three_hundred_nodes(visit) -> None:
    page = visit()
    started = page.execute_script("return performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
    assert started < 1000
    deep = "x"
    for i in range(80):
        deep = f"sin({deep})" if i % 2 else f"({deep} + x)"
    for long in (" + ".join(f"a{i}*x" for i in range(70)), deep):
        took, count, mistake = page.execute_script(TIMED, long)
        assert mistake == "" and count > 80 and took < 3000
