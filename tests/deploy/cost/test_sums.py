"""Sums that do not depend on order or parts, and columns on disk, against math.fsum and lists."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikecut.deploy.cost import columns
from spikecut.deploy.cost.band import Band
from spikecut.deploy.cost.columns import Columns
from spikecut.deploy.cost.sums import ExactSum, step_sums

FLOATS = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)


@given(values=st.lists(FLOATS, max_size=20), cuts=st.lists(st.integers(0, 20), max_size=3))
def test_a_sum_is_rounded_once_whatever_its_parts(values: list[float], cuts: list[int]) -> None:
    whole = np.array(values)
    total = ExactSum()
    for part in np.split(whole, sorted(min(cut, len(values)) for cut in cuts)):
        total.add(part)
        total._settle()
    assert float(total.value()) == math.fsum(values)


def test_sums_of_arrays_and_of_what_is_unknown() -> None:
    total = ExactSum((2, 2))
    total.add(np.array([[[0.1, 1e16], [np.nan, -0.0]], [[0.2, 1.0], [1.0, 5e-324]]]))
    np.testing.assert_array_equal(total.value(), [[0.1 + 0.2, 1e16 + 1], [np.nan, 5e-324]])


def test_sums_over_steps_do_not_depend_on_how_many_others_ran() -> None:
    values = np.random.default_rng(0).random((3, 19)) * 1e3
    for steps in (19, 20, 23):
        np.testing.assert_array_equal(step_sums(values[:, :steps], 40), step_sums(values, 40))


def test_a_column_on_disk_holds_what_was_put_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(columns, "SPOOL_BYTES", 64)
    monkeypatch.setattr(columns, "BLOCK", 4)
    for store in (Columns(on_disk=True, folder=tmp_path), Columns()):
        one, two = store.column(), store.column(np.int64)
        for part in np.split(np.arange(30), [1, 7, 7, 25]):
            one.append(part / 7)
            two.append(part)
        np.testing.assert_array_equal(one.read(), np.arange(30) / 7)
        np.testing.assert_array_equal(two.read(), np.arange(30))
        band = one.band(lambda edge, column=one: column.read() * (2 if edge == "high" else 1))
        assert isinstance(band, Band)
        assert band.mean.high == 2 * band.mean.low
        assert band.percentiles((50,))[50].value == np.median(np.arange(30) / 7)
    assert not list(tmp_path.iterdir())
