from cxrdet.models import backbones, heads, layers, losses, necks, weights  # noqa: F401
