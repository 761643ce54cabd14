"""Names and long lines in LaTeX: Greek letters, indices, what has to be escaped, where a line may break."""

import re
import unicodedata

__all__ = ["LINE", "escaped", "normal", "plain", "symbol", "wrapped"]

GREEK = dict(
    zip(
        "αβγδϵεζηθϑικλμνξπϖρϱσςτυϕφχψωΓΔΘΛΞΠΣΥΦΨΩ",
        r"\alpha \beta \gamma \delta \epsilon \varepsilon \zeta \eta \theta \vartheta \iota \kappa \lambda \mu \nu \xi "
        r"\pi \varpi \rho \varrho \sigma \varsigma \tau \upsilon \phi \varphi \chi \psi \omega \Gamma \Delta \Theta "
        r"\Lambda \Xi \Pi \Sigma \Upsilon \Phi \Psi \Omega".split(),
        strict=True,
    )
)
GREEK |= {command[1:]: command for command in GREEK.values()} | {"\N{MICRO SIGN}": r"\mu"}
SPECIAL = {"\\": r"\backslash ", "~": r"\sim ", "^": r"\wedge ", "…": r"\ldots ", "−": "-", "·": r"\cdot "}
SPECIAL |= {"×": r"\times ", "√": r"\surd ", "∂": r"\partial ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge "}
SPECIAL |= {letter: f"{command} " for letter, command in GREEK.items() if len(letter) == 1}
NAME = re.compile(r"(?P<head>.*?)(?P<mark>'*)(?:\[(?P<place>[\w, ]+)\])?")
LOWERED = re.compile(r"(?P<head>.+?)(?:_(?P<words>\w+)|(?P<digits>\d+))")  # w_1, w12, x_max


def symbol(label: str) -> str:
    r"""A name in LaTeX: one letter as it is, indices lowered, Greek letters, and words upright.

    >>> symbol("x"), symbol("w12"), symbol("w_1"), symbol("theta"), symbol("α_max")
    ('x', 'w_{12}', 'w_{1}', '\\theta', '\\alpha_{\\text{max}}')
    >>> symbol("W[2,1]"), symbol("hidden.weight[2,1]"), symbol("50% off")
    ('W_{2,1}', '\\text{hidden.weight}_{2,1}', '\\text{50\\% off}')
    """
    name = NAME.fullmatch(label)
    if name is None:
        return rf"\text{{{escaped(label)}}}"
    head, places = name["head"], _places(name["place"] or "")
    lowered = LOWERED.fullmatch(head)
    if lowered and _letter(lowered["head"]):
        head, places = lowered["head"], _places((lowered["words"] or lowered["digits"]).replace("_", ",")) + places
    index = f"_{{{','.join(places)}}}" if places else ""
    if letter := _letter(head):
        return f"{letter}{index}{name['mark']}"
    return rf"\text{{{escaped(head + name['mark'])}}}{index}"


def _letter(head: str) -> str:
    """One letter, or a Greek one, in LaTeX; nothing for other names."""
    return head if len(head) == 1 and head.isascii() and head.isalpha() else GREEK.get(head, "")


def _places(text: str) -> list[str]:
    """Indices in LaTeX, words upright."""
    places = [place.strip() for place in text.split(",") if place.strip()]
    plain = [
        place for place in places if place.isascii() and (place.isdecimal() or (place.isalpha() and len(place) < 3))
    ]
    return [place if place in plain else _letter(place) or rf"\text{{{escaped(place)}}}" for place in places]


def escaped(text: str) -> str:
    """Escape `text` for LaTeX."""
    return "".join(f"${SPECIAL[c]}$" if c in SPECIAL else rf"\{c}" if c in "{}$&#_%" else c for c in text)


def plain(label: str) -> str:
    """A label on one line: white space collapsed, and � for what cannot be printed."""
    line = unicodedata.normalize("NFC", " ".join(label.split()))
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)


def normal(name: str) -> str:
    """A name as Python's parser has it, by which two ways to write one name are one: µ as μ, ϵ as ε, ϕ as φ."""
    return unicodedata.normalize("NFKC", name)


LINE = " \\\\\n"  # the end of a line in `aligned`
TOKEN = re.compile(r"\\[a-zA-Z]+ ?|\\.|.", re.DOTALL)
SILENT = re.compile(r"\\(text|mathrm|operatorname|frac|left|right|begin|end|quad|mathrel)\b ?|\\\\|[{}&^_]")


def wrapped(line: str, width: int = 80) -> str:
    r"""Break a line of LaTeX inside ``aligned`` before signs that stand in no braces, where it would print wider than
    about `width` letters.

    >>> print(wrapped("L &= " + r" \cdot ".join("abcd"), 8))
    L &= a \cdot b \cdot c \\
    &\quad \cdot d
    """
    pieces, depth = [""], 0
    for token in TOKEN.findall(line):
        word = token.strip()
        sign = pieces[-1].endswith(" ") and not pieces[-1].endswith("= ") and word in ("+", "-", "=", r"\cdot")
        if depth == 0 and word and (sign or pieces[-1].endswith(", ")):
            pieces.append("")
        pieces[-1] += token
        depth += (word in ("{", r"\left", r"\begin")) - (word in ("}", r"\right", r"\end"))
    lines, used = [""], 0
    for piece in pieces:
        size = sum(1 for token in TOKEN.findall(piece) if not SILENT.fullmatch(token) and token != " ")
        if used and used + size > width:
            lines.append("")
            used = 0
        lines[-1] += piece
        used += size
    return f"{LINE}&\\quad ".join(each.rstrip() for each in lines)
