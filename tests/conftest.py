"""Fixtures for every room."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A loaded machine is slow, not wrong.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("here")


def pytest_addoption(parser):
    parser.addoption("--soak", type=int, default=3, help="rounds of the heavy tests")
    parser.addoption("--kills", type=int, default=5, help="kills per phase of the kill tests")
    parser.addoption("--seed", type=int, default=1, help="of the kill tests; 0: another each time")
    parser.addoption(
        "--at-random", action="store_true", help="kill at random moments, not at named points"
    )


@pytest.fixture
def rounds(request) -> int:
    """How often a heavy test repeats its story."""
    return request.config.getoption("--soak")


SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference scenes and arrays beside the checkout; a clone has none."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared (reference scenes and arrays), which this checkout lacks")
    return SHARED


@pytest.fixture(scope="session")
def golden(shared: Path) -> Path:
    """Outputs of the public reference implementation."""
    return shared / "golden"


@pytest.fixture(scope="session")
def s96(shared: Path) -> Path:
    """Small ASTER L1T scenes with ancillary files and known truth."""
    return shared / "scenes" / "s96"
