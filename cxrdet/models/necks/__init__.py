from cxrdet.models.necks.bifpn import BiFPN

__all__ = ['BiFPN']
