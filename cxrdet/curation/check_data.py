"""Check a data set before training, and fix what can be fixed without guessing."""
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cxrdet.core.annotation_checks import check_table, class_counts
from cxrdet.core.detection.anchors import anchor_advice
from cxrdet.core.files import write_atomic
from cxrdet.core.folders import OutputFolder, keep_apart
from cxrdet.core.issues import EACH_TOLD, LEVELS, DataTable, Finding, has_errors
from cxrdet.core.terminal import visible
from cxrdet.curation.pixels import check_files, check_pixels
from cxrdet.curation.repair import Plan, plan_mending
from cxrdet.curation.set_writers import check_mendable, summary, write_mended
from cxrdet.datasets.formats.sets import read_set


@dataclass
class DataReport:
    """Findings of a check, and numbers about the set.

    Attributes:
        path, kind: The set and its format.
        findings: All of them, errors first.
        numbers: Images, boxes, classes by split, and ``anchors`` (see
            :func:`cxrdet.core.detection.anchors.anchor_advice`).
        plan: What a mended copy changed, None where none was asked for.
    """

    path: str
    kind: str
    findings: list[Finding]
    numbers: dict = field(default_factory=dict)
    plan: Plan | None = None

    @property
    def failed(self) -> bool:
        """Whether errors are in the set; after mending, whether errors are left in the copy."""
        return has_errors(self.findings if self.plan is None else self.plan.left)

    def counts(self) -> dict[tuple[str, str], list[Finding]]:
        """Findings by level and code, errors first."""
        groups: dict[tuple[str, str], list[Finding]] = {}
        for finding in sorted(self.findings, key=lambda finding: (LEVELS.index(finding.level), finding.code)):
            groups.setdefault((finding.level, finding.code), []).append(finding)
        return groups

    def as_dict(self) -> dict:
        """For JSON."""
        content = {'path': self.path, 'format': self.kind, 'failed': self.failed, **self.numbers,
                   'counts': {code: len(group) for (_, code), group in self.counts().items()},
                   'findings': [finding.as_dict() for finding in self.findings]}
        if self.plan is not None:
            content['mended'] = {'changes': summary(self.plan), 'left': [item.as_dict() for item in self.plan.left]}
        return content

    def text(self, *, examples: int = 3) -> str:
        """The table for the terminal: one line a kind of finding, with the first examples below it."""
        numbers = self.numbers
        lines = [f'{self.path}: {self.kind}, {numbers["images"]} images, {numbers["boxes"]} boxes']
        lines += _class_lines(numbers['classes'])
        lines += ['', f'{"level":<8} {"count":>6}  finding']
        for (level, code), group in self.counts().items():
            lines.append(f'{level:<8} {len(group):>6}  {code}')
            shown = len(group) if code in EACH_TOLD else examples
            for finding in group[:shown]:
                where = ' '.join(part for part in (_short(finding.file, self.path), finding.row,
                                                   '' if finding.id is None else f'(id {finding.id})') if part)
                lines.append(f'{"":<17}{where}: {finding.text}' if where else f'{"":<17}{finding.text}')
            if len(group) > shown:
                lines.append(f'{"":<17}… and {len(group) - shown} more')
        if not self.findings:
            lines.append('nothing was found')
        lines += _anchor_lines(numbers.get('anchors') or {})
        if self.plan is not None:
            done = ', '.join(f'{number} {what}' for what, number in summary(self.plan).items()) or 'nothing to change'
            lines += ['', f'mended copy: {done}; {len(self.plan.left)} findings are left']
            lines += [f'  not mended: {finding.level}, {finding.code}: {finding.text}' for finding in self.plan.left
                      if finding.level == 'error'][:20]
        return '\n'.join(visible(line, one_line=True) for line in lines)


def check_data(path: str | Path, *, kind: str = 'auto', images: str | Path | None = None, pixels: bool = True,
               workers: int = 1, fix: str | Path | None = None, link: bool = False, out: str | Path | None = None,
               allow_outside: bool = False, progress: Callable[[int, int], None] | None = None, **limits) -> DataReport:
    """Check a data set of any format; nothing of it is changed.

    Args:
        path, kind, images, allow_outside: Of :func:`cxrdet.datasets.formats.sets.read_set`; images
            outside the set are not looked at unless they are allowed.
        pixels: Look at the image files: there, orphaned, decodable, of the stated size, equal and
            near-equal. A mended copy needs the first two, so that they are looked at with ``fix`` in any case.
        workers: Processes that open images.
        fix: Write a mended copy to this folder; as a COCO set where the format is none of COCO,
            VOC, NIH and CSV.
        link: With symbolic links to the images instead of copies.
        out: Write the report to this JSON file.
        progress: Called with (done, total) for each opened image.
        **limits: Of :func:`cxrdet.core.annotation_checks.check_table`.

    Raises:
        DataError: There is no set to read, or ``fix`` holds a part of it, or something that was not
            written here.
        ConfigError: The format is unknown, or has nothing to mend.
    """
    table = read_set(path, kind, images=images, allow_outside=allow_outside)
    mended = None if fix is None else _mended_folder(fix, table, path, images)  # before the long part
    findings = check_table(table, **limits)
    if pixels or fix is not None:  # a copy needs them
        findings += check_files(table)
    if pixels:
        findings += check_pixels(table, workers=workers, progress=progress)
    report = DataReport(str(path), table.kind, sorted(findings, key=lambda item: LEVELS.index(item.level)),
                        _numbers(table))
    if mended is not None:
        report.plan = plan_mending(table, report.findings)
        with mended as new:
            write_mended(table, report.plan, new, path, link=link)
    if out is not None:
        write_atomic(out, json.dumps(report.as_dict(), indent=1, default=str) + '\n')
    return report


def _mended_folder(fix: str | Path, table: DataTable, path: str | Path, images: str | Path | None) -> OutputFolder:
    check_mendable(table)
    keep_apart(fix, path, images)
    read = [file for row, file in enumerate(table.files) if row not in table.outside]
    return OutputFolder(fix, 'check_data', inputs=[path, *table.folders, *read])


def _short(file: str, root: str) -> str:
    inside = file.startswith(root + os.sep)
    return os.path.relpath(file, root) if inside else file


def _numbers(table: DataTable) -> dict:
    with np.errstate(invalid='ignore'):
        shapes = table.boxes[:, 2:] - table.boxes[:, :2]
        shapes = shapes[((shapes >= 1) & (shapes < 1e9)).all(axis=1)]  # what lies beyond is told as no box of an image
    return {'images': len(table.names), 'boxes': len(table.boxes), 'classes': class_counts(table),
            'anchors': anchor_advice(shapes)}


def _class_lines(counts: dict[str, dict[str, int]]) -> list[str]:
    names = list(dict.fromkeys(name for split in counts.values() for name in split))
    if not names:
        return []
    width = max(len('class'), *map(len, names))
    lines = ['', f'{"class":<{width}}' + ''.join(f'{split or "all":>12.12}' for split in counts)]
    return lines + [f'{name:<{width}}' + ''.join(f'{split.get(name, 0):>12}' for split in counts.values())
                    for name in names]


def _anchor_lines(advice: dict) -> list[str]:
    if not advice:
        return []
    lines = ['', 'percentile      ' + ''.join(f'{name:>8}' for name in advice['size'])]
    lines += [f'{title:<16}' + ''.join(f'{value:>8g}' for value in advice[key].values())
              for title, key in (('sqrt(area), px', 'size'), ('height / width', 'ratio'))]
    ratios = ', '.join(f'{value:g}' for value in advice['ratios'])
    return lines + [f'anchors 32 … 512 px with ratios 0.5, 1, 2 cover {advice["covered"]:.1%} of the boxes (IoU of '
                    f'shapes >= 0.7); ratios=[{ratios}], octave_base_scale={advice["base_scale"]:g}, '
                    f'scales_per_octave=3 would cover {advice["covered_then"]:.1%}',
                    'five shapes, width x height: ' + ', '.join(f'{w:g}x{h:g}' for w, h in advice['clusters'])]
