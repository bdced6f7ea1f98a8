from cxrdet.models.layers.cbam import CBAM

__all__ = ['CBAM']
