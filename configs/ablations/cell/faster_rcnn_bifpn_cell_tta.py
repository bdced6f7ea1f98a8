"""The flagship, tested with views of each image (mirrored both ways, 0.9 and 1.1 of its size), merged by weighted boxes
fusion; the training ends with such a validation, too.
Run: cxrdet train faster_rcnn_bifpn_cell_tta --data-root data/cell
"""
_base_ = '../../faster_rcnn_bifpn_cell.py'
tta_model = dict(type='cxrdet.WBFTTAModel', fusion='wbf')
custom_hooks = [dict(type='cxrdet.TTAHook', when='both')]
