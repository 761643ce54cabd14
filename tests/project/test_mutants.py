"""The mutation testing's lists follow the code: modules, the tests that know them, and mutants that change nothing."""

import ast
import functools

from mutants import MODULES, ROOT, TESTS, equivalents


def test_modules_and_their_tests_are_there():
    for path, stages in MODULES.items():
        assert (ROOT / path).is_file(), path
        for name in " ".join(stages).split():
            assert len([*TESTS.glob(f"*/test_{name}.py")]) == 1, name


@functools.cache
def statements(path):
    """Each part of a module by its name, on one line, as mutants are named."""
    parts = {}
    for top in ast.parse((ROOT / path).read_text()).body:
        line = " ".join(line.strip() for line in ast.unparse(top).splitlines())
        parts.setdefault(getattr(top, "name", "module"), []).append(line)
    return parts


def test_each_equivalent_mutant_is_of_the_code_as_it_is_and_has_a_reason():
    gone = []
    for text, reason in equivalents().items():
        (path, name), change = text.split(": ", 1)[0].split(" "), text.split(": ", 1)[1]
        befores = [change[:i] for i in range(len(change)) if change.startswith(" -> ", i)]  # a statement may have one
        assert path in MODULES and reason
        if not any(before in line for before in befores for line in statements(path).get(name, ())):
            gone.append(text)
    assert gone == []
