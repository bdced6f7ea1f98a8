"""efficientnet_lite0_nih_160.py as a linear probe: only the classifier learns, the backbone stays as ImageNet left it.
Run: cxrdet train efficientnet_lite0_frozen_nih_160 --data-root data/nih
"""
_base_ = ['../../efficientnet_lite0_nih_160.py', '../../_base_/mods/linear_probe.py']
default_hooks = {{_base_.linear_probe.default_hooks}}
find_unused_parameters = True
