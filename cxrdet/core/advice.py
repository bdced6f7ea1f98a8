"""Which setting, plugin or command addresses which finding of a diagnosis; a test checks that each exists.

A switch that was measured cites what it changed there (:mod:`cxrdet.core.evidence`), and stands by that.
"""
from typing import NamedTuple

from cxrdet.core.evidence import Evidence, evidence_for, tell, worth

#: What a switch is: a config file or the name of a recipe, a mod to put behind one, a command, a plugin of ours, or a
#: setting that the config in ``where`` has.
KINDS = ('config', 'mod', 'tool', 'plugin', 'setting')


class Switch(NamedTuple):
    """Something to change. ``name`` is a file, tool, plugin or setting, ``where`` a
    config that has the setting, ``measured`` the table and row of the model zoo.
    """

    kind: str
    name: str
    text: str
    where: str = ''
    measured: tuple[str, str] | tuple[()] = ()

    def evidence(self) -> tuple[Evidence, ...]:
        return evidence_for(*self.measured) if self.measured else ()


_EARLY_STOP = Switch('config', 'configs/_base_/default_runtime.py',
                     'stops when validation no longer improves, and ends with the best weights')
_DECAY = Switch('setting', 'optim_wrapper.optimizer.weight_decay', 'a larger value regularises more',
                'configs/faster_rcnn_fpn_cell.py')
_EPOCHS = Switch('setting', 'train_cfg.max_epochs', 'train longer, with the schedule stretched to match',
                 'configs/faster_rcnn_fpn_cell.py')
_RATE = Switch('setting', 'optim_wrapper.optimizer.lr', 'a higher rate, if the training loss still falls at the end',
               'configs/faster_rcnn_fpn_cell.py')
_CURVES = Switch('tool', 'cxrdet plot-curves',
                 'shows whether the losses still fall, and since when validation gets worse')
_CHECK = Switch('tool', 'cxrdet check-data',
                'finds duplicate and broken boxes and identical images, which look like errors')
_STOP = Switch('plugin', 'cxrdet.EarlyStoppingHook', 'stops when validation no longer improves')
_BEST = Switch('plugin', 'cxrdet.RestoreBestHook', 'ends the training with the best weights')
_COMPARE = Switch('tool', 'cxrdet compare', 'draws predictions beside the ground truth')
_SCALES = Switch('mod', '+multi_scale', 'trains on images of six sizes',
                 measured=('bccd_ablation', 'FPN, multi-scale'))
_LARGER = Switch('setting', 'train_dataloader.dataset.pipeline.2.scale', 'larger images (in the validation pipeline, '
                 'too)', 'configs/faster_rcnn_fpn_cell.py')
_ANCHORS = Switch('setting', 'model.rpn_head.anchor_generator.scales', "anchors of their size, for RetinaNet "
                  "model.bbox_head's octave_base_scale: cxrdet check-data says which fit the boxes of the set",
                  'configs/faster_rcnn_fpn_cell.py')
_NO_PROBABILITY = Switch('tool', 'cxrdet predict', 'choose --score-thr by precision and recall, and do not read '
                         'scores as probabilities')
_ROI_FOCAL = 'bccd_ablation', 'FPN, focal and GIoU loss'
_LITE = 'starts from ImageNet weights that come with pip, without a GPU or network: cxrdet[weights]'
_LITE_CELL = Switch('config', 'faster_rcnn_bifpn_lite0_cell', _LITE,
                    measured=('bccd_lite', 'Lite0, BiFPN, 12 epochs'))
_LITE_FILMS = Switch('config', 'efficientnet_lite0_nih_160', _LITE, measured=('nih_lite', 'Lite0'))
_LITE_CROPS = Switch('config', 'efficientnet_lite0_csv', _LITE)
_ENSEMBLE = Switch('tool', 'cxrdet test', '--ensemble averages several models, which makes them less overconfident')
_DATA: dict[str, tuple[Switch, ...]] = {  # for every task
    'low_quality': (
        Switch('tool', 'cxrdet check-data', 'lists every fault with its place; --fix writes a mended copy'),),
    'absent_class': (
        Switch('tool', 'cxrdet prepare-data', 'draws another split, with images of every class on both sides'),
        Switch('setting', 'train_dataloader.dataset.metainfo', 'or leave the class out: '
               'metainfo=dict(classes=[...]) without it', 'configs/faster_rcnn_bifpn_bccd.py')),
    'few': (Switch('tool', 'cxrdet prepare-data', 'draws other splits; a larger validation share, or folds, judge '
                   'rare classes better'),),
}

_DETECTION: dict[str, tuple[Switch, ...]] = {
    'overfit': (
        Switch('mod', '+albumentations', 'the augmentation preset: shift, scale, rotation, '
               'colour, blur and noise', measured=('bccd_ablation', 'FPN, albumentations preset')), _DECAY,
        _EARLY_STOP, _LITE_CELL, Switch('tool', 'cxrdet balance-data', 'adds augmented copies and background images')),
    'underfit': (_CURVES, _EPOCHS, _RATE, _LITE_CELL,
                 Switch('config', 'configs/faster_rcnn_bifpn_cell.py', 'a larger model, from ImageNet weights')),
    'imbalance': (
        Switch('mod', '+balanced', 'repeats images of rare classes '
               '(ClassBalancedDataset), without copies'),
        Switch('tool', 'cxrdet balance-data', 'brings rare classes up to --target boxes by augmented copies, '
               'and holds frequent ones below --most')),
    'weak_class': (_CHECK, Switch('tool', 'cxrdet balance-data', 'gives a class its own number of boxes: --targets'),
                   Switch('plugin', 'cxrdet.RoIFocalLoss', 'weighs hard examples more', measured=_ROI_FOCAL)),
    'localisation': (
        Switch('mod', '+focal_giou', 'trains boxes by the GIoU loss',
               measured=_ROI_FOCAL),
        Switch('setting', 'train_dataloader.dataset.pipeline.2.scale', 'larger images place boxes more exactly (in '
               'the validation pipeline, too)', 'configs/faster_rcnn_fpn_cell.py'), _CHECK),
    'classification': (
        Switch('plugin', 'cxrdet.RoIFocalLoss', 'weighs hard examples of the classes more', measured=_ROI_FOCAL),
        Switch('plugin', 'cxrdet.CBAM', 'attention in the pyramid: configs/faster_rcnn_bifpn_cell.py',
               measured=('bccd_ablation', 'BiFPN, CBAM')), _CHECK),
    'both': (_COMPARE, Switch('mod', '+focal_giou',
                              'focal loss for classes, GIoU loss for boxes', measured=_ROI_FOCAL)),
    'duplicate': (
        Switch('setting', 'model.test_cfg.rcnn.nms.iou_threshold', 'a lower one suppresses more overlapping boxes '
               '(cxrdet test --cfg-options, no training)', 'configs/faster_rcnn_fpn_cell.py'),
        Switch('plugin', 'cxrdet.TTAHook', 'merges several views by weighted boxes fusion (cxrdet test --tta)',
               measured=('bccd_ablation', 'FPN, TTA'))),
    'background': (
        Switch('tool', 'cxrdet compare', 'draws them beside the ground truth'),
        Switch('tool', 'cxrdet balance-data', 'adds them as hard negatives: --hard-negatives CONFIG CHECKPOINT'),
        Switch('tool', 'cxrdet predict', 'a higher --score-thr shows fewer of them, and misses more'), _CHECK),
    'missed': (
        Switch('tool', 'cxrdet predict', 'a lower --score-thr shows more, if they were found with low scores'),
        _LARGER, _CHECK),
    'small_boxes': (_LARGER, _ANCHORS, _SCALES), 'medium_boxes': (_ANCHORS, _SCALES),
    'large_boxes': (_ANCHORS, _SCALES),
    'overconfident': (_NO_PROBABILITY, _ENSEMBLE), 'underconfident': (_NO_PROBABILITY,),
    'found_below': (
        Switch('tool', 'cxrdet predict', 'a lower --score-thr shows them, and more false ones'),
        Switch('plugin', 'cxrdet.RoIFocalLoss', 'separates hard objects from background better', measured=_ROI_FOCAL),
        Switch('tool', 'cxrdet test', '--ensemble merges several detectors')),
    'score_threshold': (Switch('tool', 'cxrdet predict', 'give this score as --score-thr'),),
}

_TEMPERATURE = Switch('plugin', 'cxrdet.OperatingPointHook', 'stores a temperature and thresholds chosen on validation '
                      'in best_*.pth')
_CALIBRATE = Switch('tool', 'cxrdet predict', '--calibrate divides the logits by the stored temperature')

_BALANCED = 'nih_779', 'DenseNet, class-balanced sampling'

_MULTI_LABEL: dict[str, tuple[Switch, ...]] = {
    'overfit': (
        Switch('plugin', 'cxrdet.ChestAugment', 'shifts, turns and zooms as resnet18_nih_128 does'), _DECAY,
        _STOP, _BEST, _LITE_FILMS, Switch('config', 'resnet34_nih_frozen', 'pretrained weights that stay as they are'),
        Switch('config', 'densenet121_nih_unfreeze', 'pretrained weights, unfrozen step by step')),
    'underfit': (
        _CURVES, _EPOCHS, _RATE, _LITE_FILMS,
        Switch('config', 'configs/densenet121_nih.py', 'a larger model, from pretrained weights'),
        Switch('config', 'densenet_tiny_unaugmented_nih_128', 'without augmentation, to see what it costs',
               measured=('nih_779', 'DenseNet, no augmentation'))),
    'imbalance': (
        Switch('plugin', 'cxrdet.ClassBalancedSampler', 'densenet_tiny_class_balanced_nih_128: draws every '
               'class equally often', measured=_BALANCED),
        Switch('plugin', 'cxrdet.LabelCountSampler', 'densenet_tiny_label_count_nih_128: draws films with '
               'many findings more often', measured=('nih_779', 'DenseNet, sampling by label count')),
        Switch('plugin', 'cxrdet.PositiveWeightHook', 'densenet_tiny_positive_weight_nih_128: weighs '
               'positives by negatives / positives', measured=('nih_779', 'DenseNet, positive weights'))),
    'weak_class': (
        Switch('plugin', 'cxrdet.MaskedFocalLoss', 'densenet_tiny_focal_nih_128: weighs hard labels more',
               measured=('nih_779', 'DenseNet, focal loss')),
        Switch('plugin', 'cxrdet.MaskedAsymmetricLoss', 'densenet_tiny_asymmetric_nih_128: weighs easy '
               'negatives less', measured=('nih_779', 'DenseNet, asymmetric loss')),
        Switch('config', 'configs/_base_/datasets/nih_224.py', 'larger images, for small findings')),
    'overconfident': (_TEMPERATURE, _CALIBRATE, _ENSEMBLE), 'underconfident': (_TEMPERATURE, _CALIBRATE),
    'shifted': (
        Switch('plugin', 'cxrdet.PositiveWeightHook', 'a lower cap, or none of it, shifts probabilities less'),
        Switch('plugin', 'cxrdet.OperatingPointHook', 'stores thresholds of each class, which follow the shift')),
    'never_called': (
        Switch('plugin', 'cxrdet.OperatingPointHook', 'stores thresholds of each class in best_*.pth; use that file'),
        Switch('tool', 'cxrdet predict', '--operating-point names a stored one, --score-thr one for all classes')),
    'confounded': (
        Switch('tool', 'cxrdet prepare-data', 'nih --stratify view sex: the same mixture in every split'),
        Switch('setting', 'train_dataloader.dataset.split_file', 'a list of one view only, to see what is left of the '
               'score', 'resnet18_nih_128'),
        Switch('tool', 'cxrdet predict', '--cam shows whether the model looks at the finding or elsewhere')),
    'confusion': (_CHECK,),
}

_EVENLY = Switch('plugin', 'cxrdet.ClassBalancedSampler', 'as train_dataloader.sampler: draws every class equally '
                 'often', measured=_BALANCED)
_IMG_SIZE = Switch('setting', 'img_size', 'larger images (--cfg-options img_size=128)',
                   'resnet18_crops_64')

_SINGLE_LABEL: dict[str, tuple[Switch, ...]] = {
    'overfit': (
        Switch('config', 'configs/_base_/datasets/csv_crops_64.py', 'its train_pipeline has random crops, all eight '
               'orientations, and CutMix'),
        Switch('setting', 'model.head.dropout', 'more dropout before the classifier', 'configs/resnet18_csv.py'),
        _DECAY, _STOP, _BEST, _LITE_CROPS),
    'underfit': (
        _CURVES, _EPOCHS, _RATE, _LITE_CROPS,
        Switch('config', 'configs/resnet18_csv.py', 'from pretrained weights'), _IMG_SIZE),
    'imbalance': (_EVENLY,), 'weak_class': (_CHECK, _EVENLY, _IMG_SIZE),
    'confusion': (
        _CHECK, Switch('tool', 'cxrdet predict', '--cam shows what the model looks at'),
        Switch('config', 'configs/resnet18_hybrid_csv.py', 'attention in the backbone',
               measured=('cervical_attention', 'Hybrid: CA, then BoTLinear'))),
    'overconfident': (
        Switch('setting', 'model.head.loss.label_smooth_val', 'more of it makes the model less sure',
               'resnet18_crops_64'), _ENSEMBLE),
    'underconfident': (
        Switch('setting', 'model.head.loss.label_smooth_val', 'less of it makes the model surer',
               'resnet18_crops_64'),
        Switch('config', 'configs/_base_/datasets/csv_crops_64.py', 'less CutMix (probs of data_preprocessor.'
               'batch_augments), which makes a model less sure'), _EPOCHS),
}
_SINGLE_LABEL['confounded'] = _MULTI_LABEL['confounded'][2:]

#: By task and code of the finding.
ADVICE: dict[str, dict[str, tuple[Switch, ...]]] = {
    'detection': _DATA | _DETECTION, 'multi-label': _DATA | _MULTI_LABEL, 'single-label': _DATA | _SINGLE_LABEL}


def advice_for(code: str, task: str) -> list[dict[str, str]]:
    """The switches for a finding: ``kind``, ``name`` and ``text`` each, with the evidence where there is some.

    Those that helped stand first, those that made things worse last, and between them,
    in the order of the table, what was not measured or made no sure difference. Raises
    KeyError for an unknown task or code.
    """
    switches = sorted(ADVICE[task][code], key=lambda switch: worth(switch.evidence()))
    return [{'kind': switch.kind, 'name': switch.name,
             'text': '; '.join(filter(None, (switch.text, tell(switch.evidence()))))} for switch in switches]
