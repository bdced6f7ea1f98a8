from cxrdet.models import backbones, heads, layers, losses, necks, tta, weights  # noqa: F401
