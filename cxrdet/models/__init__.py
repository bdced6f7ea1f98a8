from cxrdet.models import layers, losses, necks  # noqa: F401
