from cxrdet.models.tta.wbf_tta import WBFTTAModel

__all__ = ['WBFTTAModel']
