from cxrdet.models.layers.bot_attention import BoTAttention
from cxrdet.models.layers.cbam import CBAM
from cxrdet.models.layers.coordinate_attention import CoordinateAttention
from cxrdet.models.layers.eca import ECA
from cxrdet.models.layers.linear_bot_attention import LinearBoTAttention
from cxrdet.models.layers.prior_linear import PriorLinear

__all__ = ['CBAM', 'ECA', 'BoTAttention', 'CoordinateAttention', 'LinearBoTAttention', 'PriorLinear']
