from .distillation_loss import DistillationLoss
from .masked_loss import MaskedAsymmetricLoss, MaskedBCELoss, MaskedFocalLoss
from .ohem_loss import OHEMLoss
from .roi_focal_loss import RoIFocalLoss

__all__ = ['DistillationLoss', 'MaskedAsymmetricLoss', 'MaskedBCELoss', 'MaskedFocalLoss', 'OHEMLoss', 'RoIFocalLoss']
