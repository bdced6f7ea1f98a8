from cxrdet.models import backbones, classifiers, detectors, heads, layers, losses, necks, tta, weights  # noqa: F401
