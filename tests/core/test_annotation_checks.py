"""Checks of annotations on tables made by hand, and the plan that mends them."""
import numpy as np
import pytest

from cxrdet.core.annotation_checks import check_balance, check_boxes, check_table, check_usable, class_counts
from cxrdet.core.errors import DataError
from cxrdet.core.issues import DataTable, Finding, Place, has_errors
from cxrdet.curation.repair import plan_mending


def table(boxes=(), labels=None, image=None, *, images=1, size=(100, 200), classes=('a', 'b'), **columns):
    """``images`` images of one size (height, width) with boxes; by default all in image 0 and of class a."""
    boxes = np.array(boxes, np.float64).reshape(-1, 4)
    n = len(boxes)
    parts = {'names': [f'{k}.png' for k in range(images)], 'files': [f'x/{k}.png' for k in range(images)],
             'splits': ['train'] * images, 'groups': [''] * images, 'views': [''] * images,
             'places': [Place('f', f'images[{k}]', k, k) for k in range(images)],
             'sizes': np.tile(np.array(size, np.float64), (images, 1))}
    return DataTable('coco', classes, **(parts | columns), boxes=boxes, crowd=np.zeros(n, bool),
                     box_image=np.array([0] * n if image is None else image, np.int64),
                     box_label=np.array([0] * n if labels is None else labels, np.int64),
                     box_places=[Place('f', f'annotations[{k}]', k, k) for k in range(n)])


@pytest.mark.parametrize('box, code', [
    ((10, 10, 60, 60), None),
    ((0, 0, 200, 100), None),  # the whole image
    ((0, 0, 200.05, 100), None),  # rounding
    ((60, 10, 10, 60), 'inverted_box'),
    ((10, 10, 10, 60), 'zero_area_box'),
    ((10, 10, 10.9, 60), 'zero_area_box'),
    ((200, 10, 240, 60), 'outside_box'),
    ((-30, 10, 0, 60), 'outside_box'),
    ((-5, 10, 50, 60), 'out_of_bounds_box'),
    ((10, 10, 50, 101), 'out_of_bounds_box'),
    ((10, 10, 19, 60), 'tiny_box'),
    ((np.nan, 10, 20, 60), 'bad_box'), ((10, 10, np.inf, 60), 'bad_box'),
])
def test_boxes(box, code):
    findings = check_boxes(table([box]))
    assert [finding.code for finding in findings] == ([code] if code else [])
    assert all((f.file, f.row, f.id, f.box, f.image) == ('f', 'annotations[0]', 0, 0, 0) for f in findings)


def test_what_the_reader_has_told_is_not_told_again():
    columns = table([(np.nan,) * 4])
    columns.findings.append(columns.about_box('error', 'bad_box', 'no numbers', 0))
    assert check_boxes(columns) == []


def test_tiny_by_share():
    assert not check_boxes(table([(0, 0, 20, 20)], size=(1000, 1000)), min_share=1e-4)
    assert check_boxes(table([(0, 0, 20, 20)], size=(1000, 1000)), min_share=1e-3)[0].code == 'tiny_box'
    assert not check_boxes(table([(0, 0, 20, 20)], size=(np.nan, np.nan)))  # of unknown size


def test_duplicates():
    boxes = [(0, 0, 50, 50), (0, 0, 50, 50), (0, 0, 50, 49), (0, 0, 50, 40), (0, 0, 50, 50)]
    findings = [f for f in check_table(table(boxes, [0, 0, 1, 0, 0], [0, 0, 0, 0, 1], images=2)) if 'dup' in f.code]
    assert [(f.code, f.box, f.other) for f in findings] == [('duplicate_box', 1, 0),
                                                            ('duplicate_box_other_class', 2, 0)]
    assert 'overlaps by 0.980 with that of annotations[0], but is "b" and not "a"' in findings[1].text


def test_ids_and_images_used_twice():
    columns = table(images=3, files=['x/0.png', 'x/1.png', 'x/0.png'], places=[Place('f', 'images[0]', 0, 7),
                                                                              Place('f', 'images[1]', 1, 7),
                                                                              Place('f', 'images[2]', 2, 8)])
    columns.find_conflicts()
    assert [(f.code, f.image, f.other) for f in columns.findings] == [('image_id_twice', 1, 0), ('image_twice', 2, 0)]


def test_patients_and_images_across_splits():
    columns = table(images=4, splits=['train', 'train', 'val', 'val'], groups=['p', 'q', 'p', ''],
                    files=['x/0', 'x/1', 'x/2', 'x/1'])
    columns.find_conflicts()
    assert [(f.code, f.level) for f in columns.findings] == [('image_across_splits', 'error'),
                                                             ('patient_across_splits', 'error')]
    assert columns.findings[1].text == 'patient "p" has 1 images in train and 1 in val'


def test_balance():
    boxes = np.tile((0, 0, 20, 20), (7, 1))
    assert class_counts(table(boxes, [0] * 6 + [1]))['train'] == {'a': 6, 'b': 1}
    assert [f.code for f in check_balance(table(boxes, [0] * 6 + [1]))] == ['imbalance']
    assert check_balance(table(boxes[:6], [0] * 5 + [1])) == []
    assert [f.code for f in check_balance(table(boxes, [0] * 7))] == ['class_without_samples']


def test_nothing():
    empty = DataTable('coco')
    assert check_table(empty) == [] and not has_errors([])
    assert plan_mending(empty, []).changes == []
    with pytest.raises(DataError, match='nothing would be left.*the list is empty'):
        plan_mending(empty, [Finding('error', 'bad_image', 'the list is empty')])


def test_plan():
    boxes = [(60, 10, 10, 60), (-5, 10, 50, 60), (10, 10, 10, 60), (10, 10, 60, 60), (10, 10, 19, 60)]
    columns = table(boxes)
    plan = plan_mending(columns, check_table(columns, max_imbalance=9))
    assert plan.drop_boxes == {2} and sorted(plan.boxes) == [0, 1]
    np.testing.assert_array_equal(plan.boxes[0], (10, 10, 60, 60))
    np.testing.assert_array_equal(plan.boxes[1], (0, 10, 50, 60))
    assert [f.code for f in plan.left] == ['tiny_box', 'class_without_samples']
    log = [change.as_dict() for change in plan.changes]
    assert {entry['change'] for entry in log} == {'box put in order', 'clipped box', 'dropped box'}
    assert next(e for e in log if e['change'] == 'clipped box')['before'] == [-5, 10, 50, 60]


@pytest.mark.parametrize('boxes, changed, level', [
    ([(9, 9, 60, 60)], {}, 'warning'), ([], {}, 'error'), ([(9, 9, 9.5, 60)], {}, 'error'),
    ([(200, 9, 260, 60)], {}, 'error'),
    ([(9, 9, 60, 60)], {'crowd': [True]}, 'error'), ([(9, 9, 60, 60)], {'box_label': [-1]}, 'error'),
    ([(9, 9, 60, 60)], {'box_entries': [{'ignore': 1}]}, 'error'), ([(60, 9, 9, 60)], {}, 'error')])
def test_a_set_without_a_box_to_learn_from(boxes, changed, level):
    """The whole set, or a split of two: train has the box. What --fix puts in order can be learned from."""
    columns = table(boxes, images=2, splits=['train', 'val'])
    for name, values in changed.items():
        setattr(columns, name, np.array(values) if name != 'box_entries' else values)
    findings = check_usable(columns)
    assert [(finding.level, finding.code) for finding in findings] == [(level, 'no_usable_box')]
    assert ('val' in findings[0].text) == (level == 'warning')
    left = plan_mending(columns, check_table(columns)).left
    assert has_errors(left) == (level == 'error' and boxes != [(60, 9, 9, 60)])


def test_sets_of_labels_need_no_box():
    assert check_usable(DataTable('folder', names=['a'])) == []
    assert check_usable(DataTable('csv', names=['a'], labels=np.zeros((1, 0), bool))) == []


def test_nothing_goes_for_a_twin_that_is_gone():
    """Row 2 repeats row 0, which equals row 2 as well: one of the two stays. So with boxes of which one is bad."""
    columns = table(images=3, boxes=[(0, 0, 50, 50), (0, 0, 50, 50)], image=[0, 0])
    plan = plan_mending(columns, [Finding('warning', 'equal_images', 'equal', image=0, other=2),
                                  Finding('error', 'image_twice', 'twice', image=2, other=0),
                                  Finding('warning', 'duplicate_box', 'twice', image=0, box=1, other=0),
                                  Finding('error', 'bad_box', 'bad', image=0, box=0)])
    assert len(plan.drop_images) == 1 and plan.drop_images < {0, 2}
    assert plan.drop_boxes - {1} == {0} and (1 in plan.drop_boxes) == (0 in plan.drop_images)


def test_of_two_splits_the_one_for_learning_loses_its_image():
    columns = table(images=2, splits=['val', 'train'], boxes=[(0, 0, 50, 50)], image=[1])
    finding = Finding('error', 'equal_images_across_splits', 'equal', image=0, other=1)
    plan = plan_mending(columns, [finding])
    assert plan.drop_images == {1} and plan.drop_boxes == {0}
    unknown = Finding('error', 'patient_across_splits', 'leak', image=0, other=1)
    assert plan_mending(columns, [unknown]).left == [unknown]
