"""Checks of the annotations of a data set: pure functions from a :class:`~cxrdet.core.issues.DataTable` to findings.

Every check gives one finding a defect. What cannot be read has been told by the reader and is passed over here.
"""
import numpy as np

from cxrdet.core.classification.confounding import confounded_labels
from cxrdet.core.detection.boxes import FARTHEST, box_area, box_faults, box_iou
from cxrdet.core.issues import DataTable, Finding

_SLACK = 0.1  # pixels beyond the border that rounding may leave


def check_table(table: DataTable, *, min_side: float = 10., min_share: float = 1e-4, duplicate_iou: float = 0.95,
                max_imbalance: float = 5., max_association: float = 0.1) -> list[Finding]:
    """All findings about the annotations of a set, those of its reader first.

    Args:
        table: The set.
        min_side: A box with a shorter side, in pixels, is tiny.
        min_share: So is a box with a smaller share of its image's area.
        duplicate_iou: Boxes of one image that overlap more are duplicates.
        max_imbalance: Largest ratio of the most and the least frequent class that is not remarked on.
        max_association: Cramér's V between view and label from which a label is called confounded.
    """
    return [*table.findings, *check_boxes(table, min_side=min_side, min_share=min_share),
            *check_duplicates(table, iou_thr=duplicate_iou), *check_usable(table), *check_empty(table),
            *check_balance(table, max_ratio=max_imbalance), *check_views(table, threshold=max_association)]


def check_boxes(table: DataTable, *, min_side: float = 10., min_share: float = 1e-4) -> list[Finding]:
    """Inverted boxes, those without area, outside or partly outside of the image, and tiny ones; one finding a box.

    Numbers that are not finite are told here, what is no number was told by the reader."""
    boxes, image = table.boxes, table.box_image
    readable = (np.abs(boxes) < FARTHEST).all(axis=1)
    told = [finding.box for finding in table.findings if finding.code == 'bad_box']
    findings = [table.about_box('error', 'bad_box', f'box {boxes[box].tolist()} has numbers that are not finite, '
                              f'or beyond {FARTHEST:g} px', box)
                for box in np.setdiff1d(np.flatnonzero(~readable), told)]
    with np.errstate(invalid='ignore', over='ignore'):
        width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        short = np.minimum(width, height)
        inverted, flat = short < 0, (short >= 0) & (short < 1)
        limit = np.append(table.sizes, [[np.nan, np.nan]], axis=0)[image]  # -1, an unknown image: the last row
        over = np.maximum.reduce([-boxes[:, 0], -boxes[:, 1], boxes[:, 2] - limit[:, 1], boxes[:, 3] - limit[:, 0]])
        inside = np.minimum(boxes[:, 2:], limit[:, ::-1]) - np.maximum(boxes[:, :2], 0)
        outside = (inside <= 0).any(axis=1)
        tiny = (short < min_side) | (width * height < min_share * limit.prod(axis=1))
    open_ = readable.copy()
    for applies, level, code in ((inverted, 'error', 'inverted_box'), (flat, 'error', 'zero_area_box'),
                                 (outside, 'error', 'outside_box'), (over > _SLACK, 'warning', 'out_of_bounds_box'),
                                 (tiny, 'warning', 'tiny_box')):
        for box in np.flatnonzero(open_ & applies).tolist():
            findings.append(table.about_box(level, code, _box_text(code, boxes[box], limit[box], over[box]), box))
        open_ &= ~applies
    return findings


def _box_text(code: str, box: np.ndarray, limit: np.ndarray, over: float) -> str:
    numbers = ', '.join(f'{value:g}' for value in box)
    sides = f'{box[2] - box[0]:g} x {box[3] - box[1]:g} px'
    size = f'the image of {limit[1]:g} x {limit[0]:g} px'
    return {'inverted_box': f'box ({numbers}) has its corners in the wrong order',
            'zero_area_box': f'box ({numbers}) is {sides}, less than a pixel wide or high',
            'outside_box': f'box ({numbers}) lies outside {size}',
            'out_of_bounds_box': f'box ({numbers}) reaches {over:g} px beyond {size}',
            'tiny_box': f'box ({numbers}) is tiny: {sides}'}[code]


def check_duplicates(table: DataTable, *, iou_thr: float = 0.95) -> list[Finding]:
    """Boxes of one image that overlap by more than ``iou_thr`` with an earlier one, of the same or another class."""
    findings = []
    for box, other, iou in duplicate_pairs(table, iou_thr=iou_thr):
        same = table.box_label[box] == table.box_label[other]
        where = table.box_places[other]
        text = f'box overlaps by {iou:.3f} with that of {where.row}'
        findings.append(table.about_box('warning', 'duplicate_box' if same else 'duplicate_box_other_class', text + (
            '' if same else f', but is {_class(table, box)} and not {_class(table, other)}'), box, other=other))
    return findings


def duplicate_pairs(table: DataTable, *, iou_thr: float = 0.95) -> list[tuple[int, int, float]]:
    """(box, earlier box, IoU) for each box that repeats an earlier one of its image; one of its class comes first.

    Boxes without area, of unknown class or image and crowd regions are left out.
    """
    usable = (np.isfinite(table.boxes).all(axis=1) & (table.box_image >= 0) & (table.box_label >= 0) & ~table.crowd)
    usable &= box_area(np.nan_to_num(table.boxes)) > 0
    rows = np.flatnonzero(usable)
    rows = rows[np.argsort(table.box_image[rows], kind='stable')]
    pairs = []
    for group in np.split(rows, np.flatnonzero(np.diff(table.box_image[rows])) + 1):
        if len(group) < 2:
            continue
        iou = np.tril(box_iou(table.boxes[group], table.boxes[group]), -1)  # only earlier boxes
        close = iou > iou_thr
        for one in np.flatnonzero(close.any(axis=1)):
            rank = np.where(close[one], iou[one] + (table.box_label[group] == table.box_label[group[one]]), -1)
            other = int(rank.argmax())
            pairs.append((int(group[one]), int(group[other]), float(iou[one, other])))
    return pairs


def check_usable(table: DataTable) -> list[Finding]:
    """A detection set in which no box can be learned from, an error; or a split of it, a warning.

    The rule is that of training: a pixel or more in each direction, in the image, of a known class, no crowd region.
    """
    if table.labels is not None or table.kind == 'folder' or not table.names:
        return []
    usable = (table.box_image >= 0) & (table.box_label >= 0) & ~table.crowd
    sizes = np.nan_to_num(table.sizes, nan=np.inf)[table.box_image[usable]]
    rows = np.flatnonzero(usable)[np.array(box_faults(table.boxes[usable], sizes), str) == '']
    rows = [row for row in rows if table.box_entries is None or not table.box_entries[row].get('ignore')]
    filled = {table.splits[image] for image in table.box_image[rows]}
    text = 'no box can be learned from; training refuses this unless allow_no_boxes=True'
    if not filled:
        return [Finding('error', 'no_usable_box', f'in the whole set {text}', table.places[0].file)]
    return [Finding('warning', 'no_usable_box', f'in {split or "images of no split"} {text}',
                    table.places[table.splits.index(split)].file)
            for split in dict.fromkeys(table.splits) if split not in filled]


def check_empty(table: DataTable) -> list[Finding]:
    """Images without boxes, in sets that have boxes: they are kept in training, as background."""
    if table.labels is not None or table.kind == 'folder':
        return []
    filled = np.bincount(table.box_image[table.box_image >= 0], minlength=len(table.names))
    return [table.about_image('info', 'image_without_boxes', f'"{table.names[image]}" has no box', image)
            for image in np.flatnonzero(filled == 0).tolist()]


def class_counts(table: DataTable) -> dict[str, dict[str, int]]:
    """Boxes by class, or images by class where images have labels, in each split: split -> class -> number."""
    splits = np.array(table.splits, dtype=object)
    counts = {}
    for split in dict.fromkeys(table.splits):
        if table.labels is not None:
            numbers = table.labels[splits == split].sum(axis=0)
        else:
            known = np.flatnonzero((table.box_image >= 0) & (table.box_label >= 0))
            mine = known[splits[table.box_image[known]] == split]
            numbers = np.bincount(table.box_label[mine], minlength=len(table.classes))
        counts[split] = dict(zip(table.classes, numbers.tolist()))
    return counts


def check_balance(table: DataTable, *, max_ratio: float = 5.) -> list[Finding]:
    """Classes that never occur, and a most frequent class more than ``max_ratio`` times as frequent as the least."""
    total = dict.fromkeys(table.classes, 0)
    for counts in class_counts(table).values():
        for name, number in counts.items():
            total[name] += number
    findings = [Finding('warning', 'class_without_samples', f'class "{name}" never occurs')
                for name, number in total.items() if not number]
    present = {name: number for name, number in total.items() if number}
    if present:
        most, least = max(present, key=present.__getitem__), min(present, key=present.__getitem__)
        if present[most] > max_ratio * present[least]:
            findings.append(Finding(
                'warning', 'imbalance', f'"{most}" occurs {present[most]} times, "{least}" {present[least]}: '
                f'{present[most] / present[least]:.1f} times as often'))
    return findings


def check_views(table: DataTable, *, threshold: float = 0.1) -> list[Finding]:
    """Labels that go with the view (projection, device) so much that a model could read the one from the other."""
    found = confounded_labels(table.image_labels(), table.views, threshold=threshold)
    return [Finding('warning', 'confounded_label', f'"{table.classes[label]}" goes with the view (Cramér\'s V '
                    f'{value:.2f}): ' + ', '.join(f'{share:.0%} of {view}' for view, share in shares.items()))
            for label, value, shares in found]


def _class(table: DataTable, box: int) -> str:
    return f'"{table.classes[table.box_label[box]]}"'
