"""Every function of numpy's public namespace, called with tensors and with arrays of a recorded step: the right value
and gradient, or an error that names the way.

A plain answer is right where it is of bools or whole numbers, whose derivative is 0, where a single number was asked
for by float(t), and where numpy does not look at the tensor's numbers at all. Nothing else may leave the graph unsaid.
"""

import functools
import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
from numpy_answers import OUTCOMES, PLAIN, RIGHT, Wrong, dresses, outcome, recorded, recordings
from numpy_calls import FUNCTIONS, Call, calls, with_options

from vector.protocol import COMPARISONS, UFUNCS
from vector.protocol import FUNCTIONS as OURS

SOME = 6  # calls of each function by default, the others with -m slow
# What numpy does before it asks the tensor anything, or with the answer; none of it gives a number.
NUMPYS_OWN = {
    "array_equal": "False, and not True",  # lists that it cannot turn into an array equal nothing
    "array_equiv": "False, and not True",
    "bmat": "None|zero-dimensional",  # None for whatever is no array of its own
    "from_dlpack": "__dlpack__",  # the next three want memory
    "frombuffer": "bytes-like",
    "isfortran": "no attribute 'flags'",
    "nditer": "Iterator operand",
}
TAKEN = [*COMPARISONS, *OURS, *UFUNCS]
TAKES_ARRAYS = 320  # functions of numpy 2, at the least


@functools.cache
def swept(name: str, start: int = 0, stop: int | None = SOME) -> Counter[str]:
    """How often what became of the calls of a function of numpy, of those from `start` to `stop`; of functions that are
    not refused also with each of their options."""
    found: Counter[str] = Counter()
    taken = None
    here = FUNCTIONS[name] in TAKEN
    for call in itertools.islice(calls(name, 2 if here else 1), start, None if here else stop):
        found += (kinds := judged(call))
        if taken is None and kinds.keys() & {RIGHT, PLAIN}:
            taken = call
    return sum(map(judged, with_options(taken)), found) if taken and start == 0 else found


def judged(call: Call) -> Counter[str]:
    found: Counter[str] = Counter()
    for given in dresses(call):
        try:
            found[outcome(call, *given)] += 1
        except Wrong as error:
            if call.name not in NUMPYS_OWN or not np.any(
                [word in str(error) for word in NUMPYS_OWN[call.name].split("|")]
            ):
                raise
            found["numpy's own"] += 1
    return found


@pytest.mark.parametrize("name", FUNCTIONS)
def test_right_or_refused(name):
    swept(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_right_or_refused_in_all_calls(name):
    swept(name, SOME, None)


def test_counts():
    found = {name: swept(name) for name in FUNCTIONS}
    of = {kind: {name for name, kinds in found.items() if kinds[kind]} for kind in OUTCOMES}
    total = sum(found.values(), Counter())
    print(f"{sum(map(bool, found.values()))} functions of numpy take arrays, {total.total()} calls with tensors:")
    for kind in OUTCOMES:
        print(f"{kind:10} {len(of[kind]):4} functions {total[kind]:6} calls")
    assert sum(map(bool, found.values())) >= TAKES_ARRAYS
    for name, f in FUNCTIONS.items():
        assert f not in TAKEN or found[name][RIGHT] or found[name][PLAIN], f"{name} is never right"
    assert {name for name, f in FUNCTIONS.items() if f in COMPARISONS} <= of[PLAIN]
    assert of[RIGHT] >= {"add", "clip", "concatenate", "dot", "matmul", "mean", "operator.matmul", "reshape", "where"}


@pytest.mark.compiler
@pytest.mark.parametrize("name", FUNCTIONS)
def test_recorded(name):
    check_recorded(name, 0, 2)


@pytest.mark.slow
@pytest.mark.compiler
@pytest.mark.parametrize("name", FUNCTIONS)
def test_recorded_in_all_calls(name):
    check_recorded(name, 2, None)


def check_recorded(name: str, start: int, stop: int | None) -> Any:
    found: Counter[str] = Counter()
    for call in itertools.islice(calls(name), start, stop):
        for given in recordings(call):
            try:
                found[recorded(call, *given)] += 1
            except Wrong:
                if name not in NUMPYS_OWN:
                    raise
    return found
