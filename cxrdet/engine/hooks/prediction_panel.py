"""Pictures of what the model predicts for the same few validation images, again and again."""
import cv2
import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from cxrdet.core.errors import ConfigError, check_numbers
from cxrdet.core.predictions import boxes_of_truth
from cxrdet.datasets.label_matrix import label_row
from cxrdet.datasets.transforms.loading import image_reader
from cxrdet.engine.process import by_iteration, position, unwrap
from cxrdet.registry import HOOKS
from cxrdet.visualization.prediction_panel import classification_panel, detection_panel


@HOOKS.register_module()
class PredictionPanelHook(Hook):
    """Hand panels of predictions beside the ground truth to all backends of the visualizer::

        custom_hooks = [dict(type='cxrdet.PredictionPanelHook')]
        visualizer = dict(vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')])

    After every fifth epoch, the same four images of the validation set, evenly spaced over it, as
    ``prediction_panel_1`` … ``_4``, at the step of the validation's metrics. A detector's panel shows found, false
    and missed boxes; a classifier's the labels and the most probable classes; with an EMAHook those of the averaged
    weights. The main process draws.

    Args:
        interval: epochs from panel to panel; where validation is rarer, the first validation from then on. In
            iteration-based runs: validations.
        images: how many.
        score_thr: lowest score of a box that is shown, in [0, 1].
        size: side of each half of a panel in pixels.

    Raises: ConfigError for an argument out of range; before training if there is no validation set with images.
    """
    priority = 'ABOVE_NORMAL'  # before EMAHook puts the trained weights back

    def __init__(self, interval: int = 5, *, images: int = 4, score_thr: float = 0.5, size: int = 480) -> None:
        check_numbers('PredictionPanelHook', interval=(interval, '[1, inf)'), images=(images, '[1, inf)'),
                      size=(size, '[64, inf)'), score_thr=(score_thr, '[0, 1]'))
        self.interval, self.images, self.score_thr, self.size = interval, images, score_thr, size
        self._chosen: list[int] = []

    def before_train(self, runner) -> None:
        if runner.val_loop is None:
            raise ConfigError('PredictionPanelHook draws validation images, but the config has no val_dataloader.')
        total = len(runner.val_loop.dataloader.dataset)
        self._chosen = np.unique(np.linspace(0, total - 1, min(self.images, total)).astype(int)).tolist()

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        if not self._chosen or not self._is_due(runner) or not is_main_process():
            return
        for number, index in enumerate(self._chosen, start=1):
            panel = self._draw(unwrap(runner.model), runner.val_loop.dataloader.dataset, index)
            runner.visualizer.add_image(f'prediction_panel_{number}', cv2.cvtColor(panel, cv2.COLOR_BGR2RGB),
                                        step=position(runner))

    def _is_due(self, runner) -> bool:
        done, every = position(runner), runner.train_loop.val_interval
        if by_iteration(runner):
            return done // every % self.interval == 0
        return done // self.interval > max(done - every, 0) // self.interval

    @torch.no_grad()
    def _draw(self, model, dataset, index: int) -> np.ndarray:
        sample, = model.val_step(pseudo_collate([dataset[index]]))
        info, classes = dataset.get_data_info(index), dataset.metainfo['classes']
        image = image_reader(dataset)(info['img_path'])
        if 'pred_instances' not in sample:
            scores = sample.pred_score.double().cpu().numpy()
            labels = label_row(info, len(scores), info['img_path'])
            return classification_panel(image, labels, scores, classes, size=self.size)
        found = sample.pred_instances.cpu().numpy()
        prediction = dict(boxes=found.bboxes, scores=found.scores, labels=found.labels)
        return detection_panel(image, prediction, boxes_of_truth(info['instances']), classes,
                               score_thr=self.score_thr, size=self.size)
