from cxrdet.models import (  # noqa: F401
    backbones,
    classifiers,
    data_preprocessors,
    detectors,
    heads,
    layers,
    losses,
    necks,
    tta,
    weights,
)
