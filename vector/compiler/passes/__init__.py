"""Passes: each makes a program of fewer or cheaper calls out of another."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..ir import Program
from .accumulate import accumulate_products
from .at_once import multiply_at_once, share_stacks
from .exact import eliminate_common_subexpressions, eliminate_dead_code, fold_constants, lower_powers, update_in_place
from .fast_math import hoist_scale, lower_to_gemm, maximum_by_columns
from .fuse_updates import fuse_updates
from .join import join_in_place
from .layout import box_scalars, pad_in_place, repeat_bounds, repeat_rows, unify_shapes
from .parallel import parallelize, split_k
from .pooling import pool_before_relu
from .scatter import compute_in_place, place_parts

Pass = Callable[[Program], Program]


class Stage(NamedTuple):
    """A pass, and whether it keeps every result to the last bit."""

    run: Pass
    exact: bool = True


# In this order. Behind each, what a step takes longer without it: 784-128-10, one core, SGD if no other is named.
PIPELINE = (
    Stage(eliminate_dead_code),  # what recording writes down and nobody reads: next to nothing here
    Stage(fold_constants),  # shapes and plain numbers: 14 % for a batch of 1
    Stage(lower_powers),  # x**2 and x**3 into planned memory: nothing here
    Stage(eliminate_common_subexpressions),  # numbers that all parameters need: 10 to 22 % with Adam
    Stage(place_parts),  # a GRU of 28 steps: a third
    Stage(update_in_place),  # p = p - s: 17 % where a step is written so
    Stage(pool_before_relu, exact=False),  # fewer numbers for relu: 6 % of a convnet's step, batches of 32
    Stage(hoist_scale, exact=False),  # the learning rate on the smallest gradient: 10 % for a batch of 1
    Stage(lower_to_gemm, exact=False),  # BLAS for sums and small products: 3 to 11 %
    Stage(maximum_by_columns, exact=False),  # short rows: 7 % of a small transformer's step, batches of 32
    Stage(accumulate_products, exact=False),  # one call of BLAS for W -= x @ g
    Stage(compute_in_place, exact=False),  # parts where they go: 2 to 4 % of a GRU's step
    Stage(fuse_updates),  # one call for all parameters: 6 to 19 % with Adam
    Stage(pad_in_place),  # zeros that BLAS wants beside a row and a column: they stay where they are
    Stage(join_in_place),  # gradients that ranks add up: they are not copied to one array
    Stage(unify_shapes),  # with the next 3 to 8 %: numpy's loops over one shape
    Stage(box_scalars),  # no number is converted at each call
    Stage(repeat_bounds),  # relu in a loop over vectors: 1 % for batches of 32 and 128
    Stage(repeat_rows),  # biases of few channels: 6 % of a convnet's step, batches of 32
    Stage(multiply_at_once, exact=False),  # a third for batches of 32 and more, where a core is free
    Stage(share_stacks),  # the same, of tiles of rows
    Stage(split_k, exact=False),  # with the next up to 42 % for a batch of 128, where a second core is free
    Stage(parallelize),  # last: others look for np.matmul
)


def optimize(program: Program, exact: bool) -> Program:
    """Run the passes, in order; those that round in another order only if the result need not be `exact`."""
    for stage in PIPELINE:
        if stage.exact or not exact:
            program = apply(stage.run, program)
    return program


def apply(change: Pass, program: Program) -> Program:
    """Run one pass."""
    return change(program)
