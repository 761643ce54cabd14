"""What all tests share: how hard hypothesis tries, and what becomes of numpy's warnings.

HYPOTHESIS_PROFILE  default   quick, as a person at work wants it
                    ci        more examples, and the same ones in every run; chosen by itself where CI is set
                    thorough  hundreds of thousands of examples, for a night

numpy's RuntimeWarnings are errors like any other warning. A test that goes where numpy warns says so itself: with
`np.errstate(all="ignore")` where only the numbers count, with `judging.heard` where the warnings are compared.
"""

import gc
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

RELAXED = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]

settings.register_profile("default", max_examples=60, deadline=None, suppress_health_check=RELAXED)
settings.register_profile(
    "ci", max_examples=80, deadline=None, suppress_health_check=RELAXED, derandomize=True, print_blob=True
)
settings.register_profile(
    "thorough", max_examples=300_000, deadline=None, suppress_health_check=RELAXED, phases=set(Phase) - {Phase.explain}
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "default"))

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --force-prefers-reduced-motion --window-size=1400,1000"
)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium, driven by selenium; who asks for it is skipped where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium to drive a browser with")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("no chromium and chromedriver on the PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    session = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield session
    session.quit()


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Memory must go without the garbage collector."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
