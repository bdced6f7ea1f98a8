from cxrdet.models.tta.mean_score_tta import MeanScoreTTAModel
from cxrdet.models.tta.wbf_tta import WBFTTAModel

__all__ = ['MeanScoreTTAModel', 'WBFTTAModel']
