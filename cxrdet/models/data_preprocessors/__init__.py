from cxrdet.models.data_preprocessors.lab_data_preprocessor import LabDataPreprocessor

__all__ = ['LabDataPreprocessor']
