"""An open-vocabulary detector: boxes for what a sentence names. Importing it registers its parts under scope cxrdet."""
from .decoder import QueryDecoder
from .detector import OpenVocabularyDetector
from .fusion import FusionLayer
from .losses import PhraseLoss
from .text_encoders import HuggingFaceText, WordTransformer

__all__ = ['FusionLayer', 'HuggingFaceText', 'OpenVocabularyDetector', 'PhraseLoss', 'QueryDecoder', 'WordTransformer']
