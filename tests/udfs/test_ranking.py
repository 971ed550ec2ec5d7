"""Ranking: networks and `np.sort` find the same middle, with and without holes."""

import numpy as np
import pytest

from geoquarry.udfs import ranking
from geoquarry.udfs.ranking import fills, lower_median_of, median_of, network


@pytest.mark.parametrize("limit", [0, 64])
@pytest.mark.parametrize("size", range(1, 41))
def test_the_middle_is_found(size, limit, monkeypatch):
    """0-1 principle in spirit: random numbers and random bits."""
    monkeypatch.setattr(ranking, "NETWORK_LIMIT", limit)
    rng = np.random.default_rng(size)
    for stack in (rng.random((size, 1, 200)), rng.integers(0, 2, (size, 1, 200))):
        stack = stack.astype(np.float32)
        even = np.full((1, 200), size % 2 == 0)
        np.testing.assert_allclose(median_of(stack, even), np.median(stack, axis=0), rtol=1e-6)
        lower = np.sort(stack, axis=0)[(size - 1) // 2]
        np.testing.assert_array_equal(lower_median_of(list(stack)), lower)


@pytest.mark.parametrize("size", [1, 2, 5, 8, 13])
def test_holes_do_not_count(size):
    rng = np.random.default_rng(size)
    stack = rng.random((size, 30, 40), dtype=np.float32)
    used = rng.random(stack.shape) < rng.random((30, 40))
    count = used.sum(axis=0)
    planes = [
        plane if fill is None else np.where(mask, plane, fill)
        for plane, mask, fill in zip(stack, used, fills(list(used)), strict=True)
    ]
    with np.errstate(invalid="ignore"):  # where there is no value at all
        median = median_of(planes, (count % 2 == 0) & (count > 0))
    lower = lower_median_of(planes)
    for row, column in np.ndindex(30, 40):
        values = np.sort(stack[:, row, column][used[:, row, column]])
        if values.size:
            assert median[row, column] == pytest.approx(np.median(values), rel=1e-6)
            assert lower[row, column] == values[(values.size - 1) // 2]
        else:
            assert np.isinf(lower[row, column])


def test_networks_leave_out_what_nobody_reads():
    assert len(network(9, (4,))) < len(network(9, tuple(range(9)))) == 26
    assert all(low < high < 9 for low, high, _, _ in network(9, (4,)))
