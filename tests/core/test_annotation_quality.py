"""The share of faulty boxes and the four flags, by hand."""
import numpy as np
import pytest

from cxrdet.core.annotation_checks import check_table
from cxrdet.core.annotation_quality import annotation_quality
from cxrdet.core.diagnosis import flags_of, quality_findings
from cxrdet.core.issues import DataTable, Place

GOOD = [[10 + 30 * k, 10, 30 + 30 * k, 40] for k in range(3)]
FAULTS = {'inverted_box': [60, 60, 40, 80], 'zero_area_box': [40, 60, 40.5, 80], 'outside_box': [300, 10, 330, 40],
          'out_of_bounds_box': [90, 90, 130, 95], 'tiny_box': [50, 50, 55, 55], 'duplicate_box': [10, 10, 30, 40]}


def table_of(boxes, owners, images=3):
    return DataTable('coco', ('a',), names=[str(k) for k in range(images)], files=[f'{k}.png' for k in range(images)],
                     splits=['train'] * images, groups=[''] * images, views=[''] * images,
                     places=[Place('x', str(k), k, k) for k in range(images)], sizes=np.full((images, 2), 100.),
                     boxes=np.array(boxes, float), box_image=np.array(owners), box_label=np.zeros(len(boxes), int),
                     box_places=[Place('x', str(k), k, k) for k in range(len(boxes))], crowd=np.zeros(len(boxes), bool))


@pytest.mark.parametrize('code', FAULTS)
def test_each_fault_counts(code):
    """One of 3 + 1 boxes: 25 %, above 5 %; of 20 + 1, 4.8 %, below; image 2 has no box, which is no fault."""
    table = table_of([*GOOD, FAULTS[code]], [0, 0, 0, 0])
    got = annotation_quality(table, check_table(table), [True] * 3)
    assert (got['faulty'], got['boxes'], got['share'], got['low']) == (1, 4, 0.25, True) and code in got['counts']
    assert got['images_without_boxes'] == 2 and got['examples'] and got['of'] == 'boxes'
    many = [[2 + 4 * k, 10, 14 + 4 * k, 40] for k in range(20)]
    table = table_of([*GOOD, *many[:17], FAULTS[code]], [0, 0, 0, *[1] * 17, 0])
    got = annotation_quality(table, check_table(table), [True] * 3)
    assert got['faulty'] == 1 and not got['low'] and quality_findings(got, 'detection') == []


def test_chosen_images_only():
    table = table_of([*GOOD, FAULTS['tiny_box']], [0, 0, 0, 1])
    got = annotation_quality(table, check_table(table), [True, False, True])
    assert (got['faulty'], got['boxes'], got['images'], got['low']) == (0, 3, 2, False)
    empty = annotation_quality(table_of(np.zeros((0, 4)), np.zeros(0, int)), [], [True] * 3)
    assert np.isnan(empty['share']) and not empty['low'] and empty['images_without_boxes'] == 3


@pytest.mark.parametrize(('verdict', 'ratio', 'low', 'flags'), [
    ('good', 5., False, (False, False, False, False)), ('overfit', 5.1, True, (True, False, True, True)),
    ('underfit', 1., False, (False, True, False, False)),
    ('overfit and underfit', None, None, (True, True, None, None)), ('unknown', 9., False, (None, None, True, False))])
def test_flags(verdict, ratio, low, flags):
    quality = None if low is None else {'low': low}
    got = flags_of({'verdict': verdict}, {'ratio': ratio}, quality)
    assert got == dict(zip(('overfit', 'underfit', 'imbalance', 'low_quality_data'), flags))
