"""No replay is silently stale: where what a step finds outside changes between calls, a recorded step follows, refuses,
or says so at the next recording again."""

import random
from collections import Counter

import numpy as np
import pytest
from holders import CASES, HOLDERS, SPECIAL
from hypothesis import given
from recorded import compare, graph, same, steps
from strategies import part

import vector
from vector.compiler import CompiledStep, StaleRecording
from vector.compiler.guards import GuardSet
from vector.errors import RecordingError

X = np.random.default_rng(0).normal(size=(4, 3))
CALLS = 9  # among which recordings are made again at the 2nd, 4th and 8th


class Silent(AssertionError):
    """A recorded step gave something else than the step, and nobody said so."""


def outcome(case, after, **options):
    """How a recorded step takes that its value changes after so many calls."""
    eager, expected, more, change = case.program()
    python, w, own, change_too = case.program()
    step, stale, result = vector.compile(python, **options), 0, "followed"
    for i in range(CALLS):
        if i == after:
            change(), change_too()
        try:
            right = eager(X, *more)
        except (ValueError, TypeError):
            return "an error of its own"
        verified = step.verified
        try:
            got = step(X, *own)
        except StaleRecording as error:
            got, stale, result = error.result, 0, "found later"
        except RecordingError as error:
            if i != after or "by itself" in str(error) or "next from" in str(error):
                return "refused"
            step.clear()
            got, result = step(X, *own), "refused"
        if stale and step.verified > verified:
            raise Silent(f"{case}: {stale} wrong steps, and the recording was found right after them")
        if not (same(right.data, got.data) and same(expected.data, w.data)):
            stale += 1
            if options.get("verify") == 1:
                raise Silent(f"{case}: call {i + 1}")
            w.data[...] = expected.data
    if stale:
        raise Silent(f"{case}: {stale} wrong steps at the end")
    return result


def counted(cases, **options):
    """How many cases go which way."""
    rng = random.Random(0)
    with np.errstate(all="ignore"):
        found = Counter(outcome(case, rng.randint(1, 6), **options) for case in cases)
    print(f"{sum(found.values())} cases, {options}: {dict(found)}")
    return found


def sample(n):
    """So many cases, and each holder at least once."""
    rng = random.Random(1)
    return [
        *(rng.choice([case for case in CASES if case.holder == holder]) for holder in HOLDERS),
        *rng.sample(CASES, n),
    ]


@pytest.mark.parametrize("verify", [0, 1])
def test_a_sample(verify):
    found = counted(sample(40), verify=verify)
    assert found["refused"] > found["found later"] + found["followed"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("verify", [0, 1])
def test_all(verify):
    found = counted(CASES * 2, verify=verify)
    assert found["refused"] > found["found later"] + found["followed"] > 0


@pytest.mark.parametrize("verify", [0, 1])
@pytest.mark.parametrize("case", SPECIAL, ids=lambda case: case.name)
def test_settings_of_layers_and_optimizers(case, verify):
    for after in (1, 2, 5):
        assert outcome(case, after, verify=verify) in ("refused", "followed")


def test_a_replay_without_guards_is_convicted(monkeypatch):
    """Else this would not show anything."""
    monkeypatch.setattr(GuardSet, "unchanged", lambda self: True)
    cases = [case for case in sample(0) if case.kind != "the same"]

    def convicted(**options):
        count = 0
        for case in cases:
            try:
                with np.errstate(all="ignore"):
                    outcome(case, 4, **options)
            except Silent:
                count += 1
        return count

    assert convicted() == 0  # recording again finds everything
    monkeypatch.setattr(CompiledStep, "verifying", False)
    assert convicted() > len(cases) // 2


@part(4)
@given(lines=steps())
def test_random_steps_are_what_they_were(lines):
    """Run as Python at each call, they do what was recorded: nothing is found that is not there."""
    with np.errstate(all="ignore"):
        make, calls = graph(lines)
        calls = [[np.asarray(x, y.dtype) for x, y in zip(call, calls[0], strict=True)] for call in calls]
        step = compare(make, calls * 2, verify=1)
    assert step.verified == 7 and step.traces == 1
