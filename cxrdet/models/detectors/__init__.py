from cxrdet.models.detectors.distilled import DistilledDetector
from cxrdet.models.detectors.ensemble import DetectorEnsemble

__all__ = ['DetectorEnsemble', 'DistilledDetector']
