from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cxrdet.visualization.panels import Panel


class Picture(NamedTuple):
    """A picture of the gallery."""

    jpeg: bytes  # the file's bytes
    size: tuple[int, int]  # width and height in pixels
    name: str  # file name of the image
    text: str  # what is right or wrong in it, in words; it is the alternative text, too
    # (number of the class, kind of error) for each of its errors, by which it is filtered
    marks: Sequence[tuple[int, str]]


@dataclass
class Content:
    """All that stands on the page."""

    title: str
    about: str  # one sentence below the title
    diagnosis: Mapping[str, Any]  # from :func:`cxrdet.core.model_diagnosis.diagnosis_of`
    scores: Sequence[Mapping] = ()  # ``name``, ``value``, ``low``, ``high`` of each main score
    scores_note: str = ''  # how they and their intervals were made
    data: Sequence[tuple[str, Any]] = ()  # (name, value) facts, as the next two
    model: Sequence[tuple[str, Any]] = ()
    reproduce: Sequence[tuple[str, Any]] = ()
    command: str = ''  # that makes the report again
    rows: Sequence[Mapping] = ()  # a dict a class: the diagnosis' row, with intervals where there are
    training: Sequence[Panel] = ()  # curves of training
    training_note: str = ''  # where they are from, or why there are none
    curves: Mapping[str, Sequence[Panel]] = field(default_factory=dict)  # title of a group -> its panels
    curves_note: str = ''  # how they were made
    calibration: Sequence[Panel] = ()
    pictures: Sequence[Picture] = ()  # worst first
    kinds: Mapping[str, str] = field(default_factory=dict)  # kind of error -> its name in the gallery's filter
    pictures_note: str = ''  # how they were chosen
