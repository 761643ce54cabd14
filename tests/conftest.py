"""What all tests share: how hard hypothesis tries, and what becomes of numpy's warnings.

HYPOTHESIS_PROFILE  default   quick, as a person at work wants it
                    ci        more examples, and the same ones in every run; chosen by itself where CI is set
                    thorough  hundreds of thousands of examples, for a night

numpy's RuntimeWarnings are errors like any other warning. A test that goes where numpy warns says so itself: with
`np.errstate(all="ignore")` where only the numbers count, with `judging.heard` where the warnings are compared.
"""

import os

from hypothesis import HealthCheck, Phase, settings

RELAXED = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]

settings.register_profile("default", max_examples=60, deadline=None, suppress_health_check=RELAXED)
settings.register_profile(
    "ci", max_examples=200, deadline=None, suppress_health_check=RELAXED, derandomize=True, print_blob=True
)
settings.register_profile(
    "thorough", max_examples=300_000, deadline=None, suppress_health_check=RELAXED, phases=set(Phase) - {Phase.explain}
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "default"))
