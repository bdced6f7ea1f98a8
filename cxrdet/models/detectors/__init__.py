from cxrdet.models.detectors.ensemble import DetectorEnsemble

__all__ = ['DetectorEnsemble']
