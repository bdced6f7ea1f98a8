"""How good the annotations of a set are, in one number, from the findings of its check."""
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from cxrdet.core.issues import DataTable, Finding

#: Findings that make a box a faulty one: inverted, without area, out of bounds, tiny, there twice; and
#: what cannot be read.
BOX_FAULTS = ('inverted_box', 'zero_area_box', 'outside_box', 'out_of_bounds_box', 'tiny_box', 'duplicate_box',
              'duplicate_box_other_class', 'bad_box', 'unknown_category', 'no_category', 'unknown_image')
MAX_FAULTY = 0.05  # a larger share of faulty boxes (or, without boxes, of images with errors) is low quality


def annotation_quality(table: DataTable, findings: Iterable[Finding], chosen) -> dict[str, Any]:
    """Numbers of a part of a set. Images without boxes are no fault: they are learned from as background.

    Args:
        findings: of :func:`cxrdet.core.annotation_checks.check_table`.
        chosen: (N,) bool, the images that count.

    Returns: ``images``, ``boxes``, ``images_without_boxes``, ``faulty`` (boxes,
        or images where images have labels), ``of`` ('boxes' or 'images'),
        ``share`` (NaN for none), ``limit``, ``low`` (whether share is above it),
        ``counts`` (code -> number of findings about chosen images) and
        ``examples`` (five sentences at most).
    """
    chosen = np.asarray(chosen, bool)
    mine = [finding for finding in findings if finding.image < 0 or chosen[finding.image]]
    counted = [finding for finding in mine if finding.level != 'info' and finding.image >= 0]
    inside = (table.box_image < 0) | np.append(chosen, False)[table.box_image]
    filled = np.zeros(len(chosen), bool)
    filled[table.box_image[table.box_image >= 0]] = True
    of = 'boxes' if table.labels is None else 'images'
    if of == 'boxes':
        bad = [finding for finding in mine if finding.code in BOX_FAULTS and finding.box >= 0]
        faulty, total = len({finding.box for finding in bad}), int(inside.sum())
    else:
        bad = [finding for finding in counted if finding.level == 'error' and finding.box < 0]
        faulty, total = len({finding.image for finding in bad}), int(chosen.sum())
    share = faulty / total if total else float('nan')
    return {'images': int(chosen.sum()), 'boxes': int(inside.sum()), 'of': of, 'faulty': faulty, 'share': share,
            'images_without_boxes': int((chosen & ~filled).sum()) if of == 'boxes' else 0, 'limit': MAX_FAULTY,
            'low': bool(share > MAX_FAULTY), 'counts': dict(Counter(finding.code for finding in mine)),
            'examples': [finding.text for finding in bad[:5]]}
