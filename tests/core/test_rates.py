"""Ratios by hand."""
import numpy as np

from cxrdet.core.rates import Counts, precision_recall_f1


def test_ratios_by_hand():
    rates = precision_recall_f1(Counts(tp=[6, 0, 0, 0], fp=[2, 3, 0, 1], fn=[3, 2, 4, 0]))
    np.testing.assert_allclose(rates.precision, [6 / 8, 0, np.nan, np.nan])  # no prediction; no ground truth
    np.testing.assert_allclose(rates.recall, [6 / 9, 0, 0, np.nan])
    np.testing.assert_allclose(rates.f1, [12 / 17, 0, 0, np.nan])
