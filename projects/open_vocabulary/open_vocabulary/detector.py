"""A detector of what sentences name."""
from collections.abc import Sequence

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.structures import SampleList
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torchvision.ops import batched_nms, box_convert

from cxrdet.core.errors import ConfigError, DataError, check_numbers
from cxrdet.registry import MODELS

from .decoder import Found, Tokens
from .fusion import mean_of_words, sine_code
from .losses import Truth, truth_of
from .prompts import read_prompt, words_of


@MODELS.register_module()
class OpenVocabularyDetector(BaseDetector):
    """Boxes for each phrase of a prompt, which may differ from image to image.

    Image and words are encoded apart, look at each other once (fusion), and queries become boxes, each scored against
    each phrase by cosine similarity. The phrases of an image are its ``phrases`` (a meta key of the data samples), else
    ``prompt``; labels of boxes are their numbers, in the ground truth and in predictions.

    Phrases are encoded one by one and their places in the prompt mean nothing, so another order gives the same boxes in
    another order. What else the prompt asks for is seen by the image, and may change scores a little.

    Args:
        backbone, neck: of MMDetection, the neck with ``dims`` channels at every level (ChannelMapper: 1x1 convolutions;
            no GroupNorm, whose statistics the padding of a batch would enter).
        text_encoder: cxrdet.WordTransformer, or cxrdet.HuggingFaceText.
        fusion: cxrdet.FusionLayer, with ``dims``.
        decoder: cxrdet.QueryDecoder, with ``dims``.
        loss: cxrdet.PhraseLoss.
        prompt: phrases for images that bring none, as ``'RBC . WBC . Platelets'``.
        test_cfg: ``max_per_phrase`` boxes of highest score for each phrase (default: one a query), ``max_per_img``
            (default: no limit), ``nms_iou``: leave out boxes that overlap a better one of the phrase by more.

    Raises: ConfigError for arguments out of range; when it runs, ConfigError for an image without any phrase,
        DataError for labels that are no number of a phrase.
    """

    def __init__(self, backbone: dict, text_encoder: dict, *, neck: dict, fusion: dict, decoder: dict, loss: dict,
                 prompt: str | Sequence[str] | None = None, test_cfg: dict | None = None,
                 data_preprocessor: dict | None = None, init_cfg: dict | None = None) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.backbone, self.neck = MODELS.build(backbone), MODELS.build(neck)
        self.text_encoder = MODELS.build(text_encoder)
        self.fusion, self.decoder, self.losses = MODELS.build(fusion), MODELS.build(decoder), MODELS.build(loss)
        self.dims = self.decoder.dims
        self.word_projection = nn.Sequential(
            nn.Linear(self.text_encoder.out_channels, self.dims), nn.LayerNorm(self.dims))
        self.token_norm = nn.LayerNorm(self.dims)  # of each token alone: padding must not enter its statistics
        self.levels = nn.Parameter(torch.zeros(8, self.dims))  # which level a token is of; at most 8
        self.test_cfg = {'max_per_phrase': None, 'max_per_img': None, 'nms_iou': None, **(test_cfg or {})}
        self._check_test_cfg()
        self.prompt = None if prompt is None else read_prompt(prompt)

    def _check_test_cfg(self) -> None:
        if unknown := self.test_cfg.keys() - {'max_per_phrase', 'max_per_img', 'nms_iou'}:
            raise ConfigError(f'OpenVocabularyDetector: test_cfg takes max_per_phrase, max_per_img and nms_iou, got '
                              f'{", ".join(sorted(unknown))}')
        check_numbers('OpenVocabularyDetector: test_cfg', **{
            key: (self.test_cfg[key], interval) for key, interval in (
                ('max_per_phrase', '[1, inf)'), ('max_per_img', '[1, inf)'), ('nms_iou', '(0, 1]'))
            if self.test_cfg[key] is not None})

    def set_prompt(self, prompt: str | None, classes: Sequence[str] = ()) -> tuple[str, ...]:
        """Take ``prompt`` for all images that bring no phrases, None: the prompt of the config; return its phrases.

        The ``classes`` of a checkpoint are not asked for: those of a set of phrases are no words.

        Raises: ConfigError if there is no phrase in either.
        """
        if prompt is not None:
            self.prompt = read_prompt(prompt)
        if self.prompt is None:
            raise ConfigError('this model finds what a prompt names, and there is none: give --prompt '
                              '"white blood cell . platelet" or model.prompt in the config')
        return self.prompt

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Losses by name, see :class:`PhraseLoss`."""
        prompts = self._prompts(batch_data_samples)
        layers, proposed = self._find(batch_inputs, batch_data_samples, prompts)
        truths = [self._truth(sample, prompt) for sample, prompt in zip(batch_data_samples, prompts)]
        return self.losses(layers, proposed, truths)

    def predict(self, batch_inputs: Tensor, batch_data_samples: SampleList, rescale: bool = True) -> SampleList:
        """The samples with ``pred_instances``: ``bboxes`` xyxy in pixels of the original image (of the network's input
        without ``rescale``), ``scores`` 0 to 1, ``labels``: numbers of the phrases; and with ``phrases``."""
        prompts = self._prompts(batch_data_samples)
        layers, _ = self._find(batch_inputs, batch_data_samples, prompts)
        for number, (sample, prompt) in enumerate(zip(batch_data_samples, prompts)):
            found = Found(layers[-1].logits[number, :, :len(prompt)].float(), layers[-1].boxes[number].float())
            sample.pred_instances = self._instances(found, sample, rescale)
            sample.set_metainfo({'phrases': prompt})
        return batch_data_samples

    def _forward(self, batch_inputs: Tensor, batch_data_samples: SampleList | None = None) -> tuple[Tensor, Tensor]:
        """Logits (B, N, P) and boxes (B, N, 4) of the last layer, the latter as cx, cy, w, h in parts of the image."""
        samples = batch_data_samples or [None] * len(batch_inputs)
        layers, _ = self._find(batch_inputs, samples, self._prompts(samples))
        return tuple(layers[-1])

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> (B, D, H_i, W_i) of each level."""
        return self.neck(self.backbone(batch_inputs))

    def _prompts(self, samples: Sequence) -> list[tuple[str, ...]]:
        prompts = []
        for sample in samples:
            own = self.prompt if sample is None else sample.metainfo.get('phrases')
            own = tuple(own) if own is not None else self.prompt
            if not own:
                raise ConfigError('an image comes without a phrase to look for: its data set gives no "phrases" (also '
                                  'in meta_keys of PackDetInputs), and the model has no prompt. '
                                  f'{"" if sample is None else sample.metainfo.get("img_path", "")}')
            prompts.append(own)
        return prompts

    def _truth(self, sample, prompt: tuple[str, ...]) -> Truth:
        """The ground truth of a sample; phrases of the same words name the boxes of them all."""
        labels, phrases = sample.gt_instances.labels, len(prompt)
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < phrases:
            raise DataError(f'{sample.metainfo.get("img_path")}: labels {int(labels.min())} to {int(labels.max())}, '
                            f'but {phrases} phrases: the label of a box is the number of the phrase that names it')
        truth = truth_of(sample.gt_instances.bboxes, labels, phrases, sample.img_shape[:2])
        said: dict[tuple[str, ...], list[int]] = {}
        for number, phrase in enumerate(prompt):
            said.setdefault(tuple(words_of(phrase)), []).append(number)
        for alike in said.values():
            if len(alike) > 1:
                truth.named[:, alike] = truth.named[:, alike].any(dim=1, keepdim=True)
        return truth

    def _find(self, images: Tensor, samples: Sequence,
              prompts: Sequence[tuple[str, ...]]) -> tuple[list[Found], Found | None]:
        sizes = [tuple(images.shape[-2:]) if sample is None else sample.metainfo.get('img_shape', images.shape[-2:])[:2]
                 for sample in samples]
        tokens = self._tokens(self.extract_feat(images), images.shape[-2:], sizes)
        words, mask = self._words(prompts)
        batch, phrases, length = mask.shape
        features, text = self.fusion(tokens.features, words.flatten(1, 2), positions=tokens.positions,
                                     image_mask=tokens.mask, text_mask=mask.flatten(1))
        merged = mean_of_words(text.unflatten(1, (phrases, length)), mask)
        return self.decoder(tokens._replace(features=features), merged, mask.any(dim=2))

    def _words(self, prompts: Sequence[tuple[str, ...]]) -> tuple[Tensor, Tensor]:
        """Words (B, P, L, D) of the phrases of B images, and which are there, (B, P, L); P is that of the longest
        prompt.

        A phrase that several images ask for is encoded once.
        """
        asked = dict.fromkeys(phrase for prompt in prompts for phrase in prompt)
        unique = {phrase: row for row, phrase in enumerate(asked)}
        features, mask = self.text_encoder(list(unique))
        features = self.word_projection(features)
        most = max(map(len, prompts))
        rows = torch.tensor([[unique[phrase] for phrase in prompt] + [0] * (most - len(prompt)) for prompt in prompts],
                            device=features.device)
        there = torch.tensor([[number < len(prompt) for number in range(most)] for prompt in prompts],
                             device=features.device)
        return features[rows], mask[rows] & there[..., None]

    def _tokens(self, levels: Sequence[Tensor], canvas: Sequence[int], sizes: Sequence[Sequence[int]]) -> Tokens:
        """The levels as tokens; ``canvas`` is the size of the padded batch, ``sizes`` those of the images in it."""
        features, places = [], []
        for number, level in enumerate(levels):
            rows, columns = level.shape[-2:]
            step = level.new_tensor([canvas[1] / columns, canvas[0] / rows], dtype=torch.float32)
            y, x = torch.meshgrid(torch.arange(rows, device=level.device), torch.arange(columns, device=level.device),
                                  indexing='ij')
            centre = (torch.stack((x, y), dim=-1).reshape(-1, 2) + 0.5) * step
            places.append(torch.cat((centre, (3 * step).expand_as(centre)), dim=1))
            features.append(self.token_norm(level.flatten(2).transpose(1, 2)) + self.levels[number])
        pixels = torch.cat(places)
        size = pixels.new_tensor([[width, height] for height, width in sizes])
        boxes = pixels / size.repeat(1, 2)[:, None]
        mask = None if all(tuple(own) == tuple(canvas) for own in sizes) else (pixels[:, :2] < size[:, None]).all(dim=2)
        features = torch.cat(features, dim=1)
        return Tokens(features, sine_code(boxes[..., :2], self.dims).to(features.dtype), boxes, mask)

    def _instances(self, found: Found, sample, rescale: bool) -> InstanceData:
        height, width = sample.img_shape[:2]
        scale = found.boxes.new_tensor([width, height, width, height])
        corners = box_convert(found.boxes, 'cxcywh', 'xyxy').clamp(0, 1) * scale
        if rescale and 'scale_factor' in sample:
            corners = corners / corners.new_tensor(sample.scale_factor[:2]).repeat(2)
        scores = found.logits.sigmoid()
        keep = min(self.test_cfg['max_per_phrase'] or len(scores), len(scores))
        scores, rows = scores.topk(keep, dim=0)  # (K, P), best first
        labels = torch.arange(scores.shape[1], device=rows.device).expand_as(rows)
        instances = InstanceData(bboxes=corners[rows.T.flatten()], scores=scores.T.flatten(), labels=labels.T.flatten())
        if self.test_cfg['nms_iou'] is not None:
            instances = instances[batched_nms(instances.bboxes, instances.scores, instances.labels,
                                              self.test_cfg['nms_iou'])]
        instances = instances[instances.scores.argsort(descending=True, stable=True)]
        return instances[:self.test_cfg['max_per_img'] or len(instances)]


