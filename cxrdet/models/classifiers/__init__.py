from cxrdet.models.classifiers.distilled import DistilledClassifier
from cxrdet.models.classifiers.ensemble import ClassifierEnsemble

__all__ = ['ClassifierEnsemble', 'DistilledClassifier']
