from cxrdet.models.classifiers.ensemble import ClassifierEnsemble

__all__ = ['ClassifierEnsemble']
