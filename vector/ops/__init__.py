"""The calculus pages on arrays: what each op computes and how it differentiates.

Every block reads the same way, derivatives first, one for each input. The names of a rule say what it reads:

    g        the gradient arriving from above, dL/dout, of out's shape
    out      the op's value
    x, y     its inputs (xs: all the inputs of an op over a sequence)
    x_shape  an input's shape, where the derivative needs no more of it
    axis     or whatever else the op is told besides its inputs

A derivative is a pure function of these. Given arrays it gives an array, which is what the ordinary backward pass
uses; given nodes it builds nodes, which is how second derivatives come about. It need not undo broadcasting: the
backward pass sums a gradient back to its input's shape. To add an op, add its block to the page of its
theme: with one input it is a method, too. A function that is made of ops is declared by `@function`.

The pages, and which uses which:

    elementwise <- shapes <- axes <- products, linalg <- convolution
"""

from __future__ import annotations

from ..op import FUNCTIONS, OPS
from .axes import *  # noqa: F403
from .convolution import *  # noqa: F403
from .elementwise import *  # noqa: F403
from .linalg import *  # noqa: F403
from .products import *  # noqa: F403
from .shapes import *  # noqa: F403

__all__ = sorted([*FUNCTIONS, *(op.name for op in OPS.values() if op.public)])
