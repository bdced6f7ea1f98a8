"""efficientnet_lite0_csv.py as a linear probe: only the classifier learns, the backbone stays as ImageNet left it.
Run: cxrdet train efficientnet_lite0_frozen_csv --data-root data/crops
"""
_base_ = ['../../efficientnet_lite0_csv.py', '../../_base_/mods/linear_probe.py']
default_hooks = {{_base_.linear_probe.default_hooks}}
find_unused_parameters = True
