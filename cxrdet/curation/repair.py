"""What can be mended in a data set without guessing: from findings to a plan for the writers."""
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from cxrdet.core.detection.boxes import box_fault, clip_boxes
from cxrdet.core.errors import DataError
from cxrdet.core.issues import DataTable, Finding, counts

#: The defect makes the annotation useless, and only its author could say what was meant.
_DROP_BOX = ('zero_area_box', 'outside_box', 'no_category', 'unknown_category', 'bad_box', 'unknown_image',
             'duplicate_box')
#: The image cannot be used, or its like is there already.
_DROP_IMAGE = ('outside_file', 'missing_file', 'empty_file', 'unreadable_image', 'image_twice', 'equal_images',
               'no_label', 'unknown_label')
#: Of two images across splits the one in the split for learning goes; the figures of the others stay comparable.
_ACROSS = ('image_across_splits', 'equal_images_across_splits')
_ORDER = ('test', 'val', 'valid')
#: Nothing to do: left out of the copy by its nature.
_NOT_COPIED = ('orphan_file', 'bad_image', 'bad_annotation', 'bad_row', 'unreadable_annotations', 'missing_annotation',
               'listed_twice', 'empty_list', 'rows_without_image', 'boxes_without_image')
#: The copy names the image as its file is called, or gives it a name of its own.
_RENAMED = ('image_name', 'image_name_twice')


@dataclass(frozen=True)
class Change:
    """One change: what was done, for which finding, values before and after where there are any, and to how many."""

    what: str
    finding: Finding
    before: list | None = None
    after: list | None = None
    number: int = 1

    def as_dict(self) -> dict:
        """For the log."""
        values = {'before': self.before, 'after': self.after}
        return {'change': self.what, **self.finding.as_dict(), **{k: v for k, v in values.items() if v is not None}}


@dataclass
class Plan:
    """What is to be changed.

    Attributes:
        drop_images, drop_boxes: Rows of the table that the copy leaves out.
        boxes: Row of a box -> its new corners, (4,) float64 xyxy.
        renumber: Rows of boxes that need an id of their own.
        changes: All of it, for the log.
        left: Findings that are not mended.
    """

    drop_images: set[int] = field(default_factory=set)
    drop_boxes: set[int] = field(default_factory=set)
    boxes: dict[int, np.ndarray] = field(default_factory=dict)
    renumber: set[int] = field(default_factory=set)
    changes: list[Change] = field(default_factory=list)
    left: list[Finding] = field(default_factory=list)


def plan_mending(table: DataTable, findings: Iterable[Finding]) -> Plan:
    """Decide what becomes of each finding.

    Boxes that cannot be used go; inverted ones are put in order and clipped where that gives a box; boxes beyond the
    border are clipped; of duplicates the later goes; missing and repeated ids are given anew. Images that cannot be
    read go with their boxes, of equal ones the later; across splits the one for learning. Nothing goes for a twin that
    is gone itself. Whatever needs a judgement stays.

    Raises: DataError if no image would be left.
    """
    plan = Plan()
    for finding in sorted(findings, key=lambda finding: finding.other >= 0):  # twins last: one of them may be gone
        if not _mend(table, plan, finding) and finding.level != 'info':
            plan.left.append(finding)
    if plan.boxes:  # some box can be learned from now
        plan.left = [finding for finding in plan.left if finding.code != 'no_usable_box']
    for box in np.flatnonzero(np.isin(table.box_image, list(plan.drop_images))).tolist():
        if box not in plan.drop_boxes:
            plan.drop_boxes.add(box)
            gone = table.about_box('info', 'box_of_dropped_image', f'box of "{table.names[table.box_image[box]]}"', box)
            plan.changes.append(Change('dropped box with its image', gone, before=_numbers(table.boxes[box])))
    plan.changes = _one_line_each(plan.changes)
    for shape in table.other_shapes:
        if shape.image not in plan.drop_images:
            what = 'left out shape' if 'left out' in shape.text else 'box around shape'
            plan.changes.append(Change(what, shape, number=int(shape.text.split()[0])))
    if plan.changes and len(plan.drop_images) == len(table.names):
        kinds = Counter(change.finding.code for change in plan.changes if change.finding.image in plan.drop_images)
        first = plan.changes[0].finding.text.rstrip('.')
        raise DataError(f'nothing would be left: all {len(table.names)} images of the set would be dropped '
                        f'({counts(kinds)}); the first: {first}. If the images lie elsewhere, '
                        'name their folder (images, --images), or let names lead out (allow_outside, --allow-outside).')
    return plan


def _one_line_each(changes: list[Change]) -> list[Change]:
    """One change for a box or an image with several faults, their codes and texts joined; dropped is dropped."""
    lines: dict[tuple, Change] = {}
    for number, change in enumerate(changes):
        finding, what = change.finding, change.what
        key = ('box', finding.box) if finding.box >= 0 else ('image', finding.image) if what == 'dropped image' else (
            number, )
        first = lines.setdefault(key, change)
        if first is not change:
            lost = next((one for one in (first, change) if one.what.startswith('dropped')), None)
            codes, texts = (list(dict.fromkeys((getattr(first.finding, name), getattr(finding, name))))
                            for name in ('code', 'text'))
            lines[key] = replace(lost or (change if change.after else first), finding=replace(
                first.finding, code=', '.join(codes), text='; '.join(texts)), what=lost.what if lost else ' and '.join(
                    dict.fromkeys((first.what, what))))
    return list(lines.values())


def _mend(table: DataTable, plan: Plan, finding: Finding) -> bool:
    code = finding.code
    if _without_twin(plan, finding):
        return True
    if finding.image >= 0 and code in (*_DROP_IMAGE, 'unreadable_annotations'):
        plan.drop_images.add(finding.image)
        plan.changes.append(Change('dropped image', finding))
    elif code in _NOT_COPIED:
        plan.changes.append(Change('left out', finding))
    elif code in _RENAMED:
        plan.changes.append(Change('renamed image', finding))
    elif code in _DROP_BOX and finding.box >= 0:
        plan.drop_boxes.add(finding.box)
        plan.changes.append(Change('dropped box', finding, before=_numbers(table.boxes[finding.box])))
    elif code in ('inverted_box', 'out_of_bounds_box'):
        _reshape(table, plan, finding)
    elif code in ('no_annotation_id', 'annotation_id_twice'):
        plan.renumber.add(finding.box)
        plan.changes.append(Change('new id', finding))
    elif code in _ACROSS and finding.image >= 0:
        image = min(finding.image, finding.other, key=lambda row: table.splits[row] in _ORDER)
        plan.drop_images.add(image)
        what = f'dropped image "{table.names[image]}" of {table.splits[image] or "no split"}'
        plan.changes.append(Change(what, finding))
    else:
        return False
    return True


def _without_twin(plan: Plan, finding: Finding) -> bool:
    """Whether a finding about two images, or two boxes, of which one would go, is settled: one is gone already."""
    code = finding.code
    if finding.other < 0 or code not in ('duplicate_box', *_DROP_IMAGE, *_ACROSS):
        return False
    one, gone = (finding.box, plan.drop_boxes) if code == 'duplicate_box' else (finding.image, plan.drop_images)
    if one in gone:
        what = 'dropped box' if code == 'duplicate_box' else 'dropped image'
        plan.changes.append(Change(what, finding))
    return bool({one, finding.other} & gone)


def _reshape(table: DataTable, plan: Plan, finding: Finding) -> None:
    old = table.boxes[finding.box]
    new = np.concatenate([np.minimum(old[:2], old[2:]), np.maximum(old[:2], old[2:])])
    height, width = table.sizes[finding.image] if finding.image >= 0 else (np.nan, np.nan)
    if not np.isnan(height + width):
        new = clip_boxes(new[None], height, width)[0]
    if box_fault(tuple(new), *np.nan_to_num((height, width), nan=np.inf)):
        plan.drop_boxes.add(finding.box)
        plan.changes.append(Change('dropped box', finding, before=_numbers(old)))
        return
    plan.boxes[finding.box] = new
    plan.changes.append(Change('box put in order' if finding.code == 'inverted_box' else 'clipped box', finding,
                               before=_numbers(old), after=_numbers(new)))


def _numbers(box: np.ndarray) -> list:
    return [None if np.isnan(value) else float(value) for value in box]
