"""A head of multi-label classifiers: hidden layers, dropout, unknown labels, a threshold per class."""
from collections.abc import Sequence

import torch
from mmcv.cnn import build_activation_layer
from mmpretrain.models.heads import MultiLabelLinearClsHead
from mmpretrain.structures import DataSample, label_to_onehot
from torch import Tensor, nn

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.registry import MODELS

# Hidden layers start with the variance of their fan-in kept, the classifier near probability 0.5 for everything.
INIT = dict(type='Kaiming', layer='Linear', mode='fan_in', nonlinearity='relu',
            override=dict(type='Normal', name='fc', std=0.01))


@MODELS.register_module()
class MultiLabelHead(MultiLabelLinearClsHead):
    """MMPretrain's ``MultiLabelLinearClsHead`` with more in front of the classifier, for labels 1, 0 or NaN (unknown).

    The features of the last stage are flattened; then come, for each number in ``hidden``, a linear layer, batch norm
    (if ``norm``), activation and dropout; without hidden layers batch norm and dropout stand before the classifier.
    With one share more than hidden layers in ``dropout``, the first one is zeroed of the flattened features.

    Args:
        num_classes: C; the tools set it from the data.
        in_channels: Features of an image after flattening: channels after a pooling neck, C * H * W of a map.
        hidden: Units of the hidden layers, e.g. ``(2048, 1024)``.
        dropout: Share of features that is zeroed in training, within 0 .. 1, not 1; or, of the flattened features and
            behind each hidden layer, one each: ``(0.5, 0.3)`` for ``hidden=(256,)``.
        norm: Whether to normalise the batch.
        act_cfg: Activation of the hidden layers.
        loss: Config of the loss, called with (N, C) logits and (N, C) labels. It must know what NaN means where labels
            can be unknown, as ``cxrdet.MaskedBCELoss``, ``MaskedFocalLoss``, ``MaskedAsymmetricLoss`` and ``OHEMLoss``
            around one of them do.
        thr: Probability from which on a class is called present, one number or one for each class.
        topk: Call the k most probable classes present instead.
        init_cfg: MMEngine's initialisation of the linear layers.

    Raises:
        ConfigError: If ``dropout``, ``hidden`` or ``thr`` is out of range or of the wrong length.
    """

    def __init__(self, num_classes: int, in_channels: int, *, hidden: Sequence[int] = (),
                 dropout: float | Sequence[float] = 0.0, norm: bool = False, act_cfg: dict | None = None,
                 loss: dict | None = None,
                 thr: float | Sequence[float] | None = None, topk: int | None = None,
                 init_cfg: dict | list | None = INIT) -> None:
        shares = _dropout_shares(dropout, len(hidden))
        if any(units < 1 for units in hidden):
            raise ConfigError(f'MultiLabelHead: hidden layers must have at least 1 unit, got {tuple(hidden)}.')
        super().__init__(num_classes, hidden[-1] if hidden else in_channels, loss=loss or dict(
            type='cxrdet.MaskedBCELoss'), thr=thr, topk=topk, init_cfg=init_cfg)
        self.in_channels = in_channels
        self.hidden = _hidden_layers([in_channels, *hidden], shares, norm, act_cfg or dict(type='ReLU'))
        self._keep_thresholds()

    def _keep_thresholds(self) -> None:
        """Make the thresholds a tensor, which broadcasts over the classes and follows the model's device."""
        if self.thr is None:
            return
        thresholds = torch.as_tensor(self.thr, dtype=torch.float32)
        if not ((thresholds >= 0) & (thresholds <= 1)).all():
            raise ConfigError(f'MultiLabelHead: thresholds must be within 0 .. 1, got {self.thr}.')
        if thresholds.ndim and len(thresholds) != self.num_classes:
            raise ConfigError(f'MultiLabelHead: {len(thresholds)} thresholds for {self.num_classes} classes; give one '
                              'for each class, or one number for all.')
        del self.thr
        self.register_buffer('thr', thresholds, persistent=False)

    def pre_logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Features of the stages to what the classifier sees: the last ones, (N, …), to (N, hidden[-1])."""
        return self.hidden(feats[-1].flatten(1))

    def _get_loss(self, cls_score: Tensor, data_samples: list[DataSample], **kwargs) -> dict[str, Tensor]:
        """The mean loss over the known labels; those of an image are its ``gt_score`` (C,), or its ``gt_label``.

        In training also ``accuracy``, the share of right decisions at ``thr`` (0.5 without one) among the known labels,
        NaN without any. Of soft labels, as mixing images makes them, those of at least 0.5 count as present.
        """
        target = torch.stack([_labels(sample, cls_score.shape[-1]) for sample in data_samples]).to(cls_score.device)
        losses = dict(loss=self.loss_module(cls_score, target, **kwargs))
        if self.training:
            known, called = ~target.isnan(), cls_score.detach().sigmoid() >= (0.5 if self.thr is None else self.thr)
            losses['accuracy'] = ((called == (target >= 0.5)) & known).sum() / known.sum()
        return losses


def _dropout_shares(dropout: float | Sequence[float], hidden: int) -> list[float]:
    """What is zeroed of the flattened features, and behind each hidden layer."""
    if isinstance(dropout, Sequence):
        shares = list(dropout)
    else:
        shares = [0.0] + [dropout] * hidden if hidden else [dropout]
    if len(shares) != hidden + 1:
        raise ConfigError(f'MultiLabelHead: {hidden} hidden layer(s) take one dropout, or {hidden + 1}: of the '
                          f'features before them and behind each; got {dropout}.')
    if not all(0 <= share < 1 for share in shares):
        raise ConfigError(f'MultiLabelHead: dropout must be within 0 .. 1 and below 1, got {dropout}.')
    return shares


def _hidden_layers(sizes: list[int], shares: list[float], norm: bool, act_cfg: dict) -> nn.Sequential:
    def dropout(share: float) -> list[nn.Module]:
        return [nn.Dropout(share)] if share else []

    layers = [*([nn.BatchNorm1d(sizes[0])] if norm and len(sizes) == 1 else []), *dropout(shares[0])]
    for units, after, share in zip(sizes, sizes[1:], shares[1:]):
        layers += [nn.Linear(units, after), *([nn.BatchNorm1d(after)] if norm else []),
                   build_activation_layer(act_cfg), *dropout(share)]
    return nn.Sequential(*layers)


def _labels(sample: DataSample, classes: int) -> Tensor:
    if 'gt_score' not in sample:
        return label_to_onehot(sample.gt_label, classes).float()
    if len(sample.gt_score) != classes:
        raise DataError(f'{sample.get("img_path", "an image")}: {len(sample.gt_score)} labels, but the head has '
                        f'{classes} classes; num_classes must be the number of classes of the data.')
    return sample.gt_score.float()
