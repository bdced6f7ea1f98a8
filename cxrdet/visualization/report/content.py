"""What a report tells, apart from how it looks."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cxrdet.visualization.panels import Panel

__all__ = ['Content', 'Picture']


class Picture(NamedTuple):
    """A picture of the gallery.

    Attributes:
        jpeg: the file's bytes.
        size: width and height in pixels.
        name: file name of the image.
        text: what is right or wrong in it, in words; it is the alternative text, too.
        marks: (number of the class, kind of error) for each of its errors, by which it is filtered.
    """

    jpeg: bytes
    size: tuple[int, int]
    name: str
    text: str
    marks: Sequence[tuple[int, str]]


@dataclass
class Content:
    """All that stands on the page.

    Attributes:
        title: of the page.
        about: one sentence below it.
        diagnosis: from :func:`cxrdet.core.model_diagnosis.diagnosis_of`.
        scores: ``name``, ``value``, ``low``, ``high`` of each main score.
        scores_note: how they and their intervals were made.
        data, model, reproduce: (name, value) facts.
        command: that makes the report again.
        rows: a dict a class: the diagnosis' row, with intervals where there are.
        training: panels of the curves of training; without any, ``training_note`` says why.
        curves: title of a group -> its panels; ``curves_note`` says how they were made.
        calibration: panels.
        pictures: worst first.
        kinds: kind of error -> its name in the gallery's filter.
        pictures_note: how they were chosen.
    """

    title: str
    about: str
    diagnosis: Mapping[str, Any]
    scores: Sequence[Mapping] = ()
    scores_note: str = ''
    data: Sequence[tuple[str, Any]] = ()
    model: Sequence[tuple[str, Any]] = ()
    reproduce: Sequence[tuple[str, Any]] = ()
    command: str = ''
    rows: Sequence[Mapping] = ()
    training: Sequence[Panel] = ()
    training_note: str = ''
    curves: Mapping[str, Sequence[Panel]] = field(default_factory=dict)
    curves_note: str = ''
    calibration: Sequence[Panel] = ()
    pictures: Sequence[Picture] = ()
    kinds: Mapping[str, str] = field(default_factory=dict)
    pictures_note: str = ''
