"""An open-vocabulary detector: boxes for what a sentence names. Importing it registers its parts under scope cxrdet."""
from .decoder import QueryDecoder
from .detector import OpenVocabularyDetector
from .fusion import FusionLayer
from .grounding_dataset import GroundingDataset
from .grounding_dino import LocalBert, PromptedGroundingDINO
from .losses import PhraseLoss
from .phrase_grounding_metric import PhraseGroundingMetric
from .text_encoders import HuggingFaceText, WordTransformer
from .transforms import ClassPrompts, MirrorPhrases, NegativePhrases
from .vocabulary_hook import VocabularyHook

__all__ = ['ClassPrompts', 'FusionLayer', 'GroundingDataset', 'HuggingFaceText', 'LocalBert', 'MirrorPhrases',
           'NegativePhrases', 'OpenVocabularyDetector', 'PhraseGroundingMetric', 'PhraseLoss', 'PromptedGroundingDINO',
           'QueryDecoder', 'VocabularyHook', 'WordTransformer']
