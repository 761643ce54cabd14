"""Passes: each takes a program's calls and returns fewer or cheaper ones."""

from __future__ import annotations

from ..ir import Program
from .exact import (
    align,
    bounds_in_full,
    drop_unread,
    fold_constants,
    means,
    numbers_as_arrays,
    pad_in_place,
    reduce_across,
    scale_early,
    share,
    simplify,
    small_products,
    sums_of_one,
    write_through,
)
from .fuse_updates import join_updates
from .parallel import hand_out, in_two_terms

EXACT = (drop_unread, fold_constants, simplify, share, write_through)
LAYOUT = (join_updates, pad_in_place, align, numbers_as_arrays, hand_out)
REORDERING = (sums_of_one, scale_early, small_products, means, reduce_across, bounds_in_full, in_two_terms)


def optimize(program: Program, exact: bool) -> None:
    """Run the passes, in order; those that round in another order only if the result need not be `exact`."""
    for run in (*EXACT, *(() if exact else REORDERING), *LAYOUT):
        run(program)
