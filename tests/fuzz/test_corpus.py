"""Replay: seeds and everything that fuzzing ever found, in the fast suite."""

import pytest
from fuzz.guard import weighed
from fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_known_cases_keep_the_promises(name):
    target = TARGETS[name]
    for data in target.known():
        weighed(target, data)


@pytest.mark.parametrize("name", TARGETS)
def test_a_seed_is_accepted(name):
    """Else the search would start, and stay, at the first check."""
    target = TARGETS[name]
    assert any(weighed(target, seed) for seed in target.seeds)
