r"""The formula of a graph and every step of its backward pass as a LaTeX document, for pdflatex and lualatex."""

from __future__ import annotations

import re

from viz.maths.formula import formula
from viz.maths.letters import LINE, wrapped
from viz.maths.steps import steps
from viz.nodes import Node

__all__ = ["document"]

# pdflatex knows the letters of Latin alphabets; of others the document says how they are numbered.
TEX = r"""\documentclass{article}
\ifdefined\pdftexversion
\usepackage[T1]{fontenc}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
\usepackage{textcomp}
%s\else
\IfFileExists{fontspec.sty}{\usepackage{fontspec}}{}
\fi
\usepackage{amsmath}
\usepackage[margin=2cm]{geometry}
\allowdisplaybreaks
\begin{document}
\begin{align*}
%s
\end{align*}
%s
\end{document}
"""
STEPS = r"""\begin{align*}
%s
\end{align*}"""
KNOWN = re.compile(r"[\x00-\u017f]")


def document(root: Node) -> str:
    """Return the document. Raises ValueError where `formula` does, and TypeError where `steps` does."""
    rows = formula(root).latex.removeprefix("\\begin{aligned}\n").removesuffix("\n\\end{aligned}")
    chain = [wrapped(f"& {part.latex}") for frame in steps(root) for part in frame.contributions]
    letters = sorted({char for char in rows + "".join(chain) if not KNOWN.match(char)})
    codes = [f"{ord(char):04X}" for char in letters]
    declared = [rf"\DeclareUnicodeCharacter{{{code}}}{{{{\tiny U+{code}}}}}" for code in codes]
    return TEX % ("".join(f"{line}\n" for line in declared), rows, STEPS % LINE.join(chain) if chain else "")
