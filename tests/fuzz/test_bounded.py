"""Bounded fuzzing: hypothesis edits known cases and makes up new ones, a few hundred per target."""

import subprocess
import sys

import pytest
from fuzz.guard import checked, shrunk, weighed
from fuzz.registry import Target
from fuzz.targets import TARGETS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.fuzz
EXAMPLES = 1000
"""Per target. CI has minutes, `make soak` has a million cases."""


def cases(target: Target) -> st.SearchStrategy[bytes]:
    """Any bytes, and known cases with pieces cut out, put in, and words of the format between."""
    known = target.known()
    piece = st.binary(max_size=8)
    if target.tokens:
        piece |= st.sampled_from(target.tokens)
    edit = st.tuples(st.integers(0, 2**16), st.integers(0, 8), piece)

    def edited(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
        for at, cut, put in edits:
            place = at % (len(data) + 1)
            data = data[:place] + put + data[place + cut :]
        return data[: target.longest]

    mixed = st.builds(edited, st.sampled_from(known), st.lists(edit, min_size=1, max_size=6))
    return mixed | mixed | st.binary(max_size=min(target.longest, 256))


@pytest.mark.parametrize("name", TARGETS)
def test_only_errors_of_ours_come_out(name):
    target = TARGETS[name]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(target))
    def run(data):
        weighed(target, data)

    for seed in target.seeds:  # lazy imports are no part of a case
        checked(target, seed)
    run()


@pytest.mark.parametrize("name", ["blob", "formula"])
def test_the_guided_driver_runs(name, tmp_path):
    pytest.importorskip("atheris", reason="coverage-guided fuzzing needs atheris (pip install it)")
    command = [sys.executable, "-m", "fuzz.guided", name, "-runs=2000", "-seed=1"]
    done = subprocess.run(
        [*command, f"-artifact_prefix={tmp_path}/"],
        env=_with_tests(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Done 2000 runs" in done.stderr


def _with_tests() -> dict[str, str]:
    import os
    from pathlib import Path

    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def test_a_finding_is_told_and_made_shorter():
    """The drivers themselves: what is no error of ours, and what is slow, gets out."""

    def breaks(data):
        if b"!" in data:
            raise KeyError("let out")

    target = Target("made up", breaks, (b"fine",))
    assert checked(target, b"fine")
    with pytest.raises(KeyError):
        weighed(target, b"a case with ! in it")

    def fails(data):
        try:
            checked(target, data)
        except KeyError:
            return True
        return False

    assert shrunk(fails, b"a case with ! in it") == b"!"
