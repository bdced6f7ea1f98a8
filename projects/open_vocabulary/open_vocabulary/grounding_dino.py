"""MMDetection's Grounding DINO with prompts from the command line and a BERT from a local folder."""
from collections.abc import Sequence
from pathlib import Path

from mmdet.models.detectors import GroundingDINO
from mmdet.models.language_models import bert
from mmdet.structures import SampleList
from torch import Tensor

from cxrdet.core.errors import ConfigError
from cxrdet.registry import MODELS

from .prompts import read_prompt


@MODELS.register_module()
class PromptedGroundingDINO(GroundingDINO):
    """MMDetection's GroundingDINO, which finds what ``prompt`` names in images that bring no ``text``.

    Liu et al., "Grounding DINO", arXiv 2303.05499; MM-Grounding-DINO: Zhao et al., arXiv 2401.02361.

    onedl-mmdetection 3.5.1 hands the decoder codes of boxes of twice the width that its layers and all published
    weights have; the frequencies that these were trained with are picked out of them.

    Args:
        prompt: phrases, as ``'RBC . WBC . Platelets'``; their numbers are the labels of the boxes. None: the classes of
            the data set, or of the checkpoint.
        **kwargs: of the parent.

    Raises: ConfigError for an image without any phrase.
    """

    def __init__(self, *, prompt: str | Sequence[str] | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.prompt = None if prompt is None else read_prompt(prompt)
        self.decoder.ref_point_head.register_forward_pre_hook(_narrow_code)

    def set_prompt(self, prompt: str | None, classes: Sequence[str] = ()) -> tuple[str, ...]:
        """Take ``prompt`` for all images that bring no text, None: that of the config, or else ``classes``, those of
        the checkpoint; return its phrases.

        Raises: ConfigError if there is no phrase in any.
        """
        if prompt is not None or self.prompt is None and classes:
            self.prompt = read_prompt(classes if prompt is None else prompt)
        if self.prompt is None:
            raise ConfigError('this model finds what a prompt names, and there is none: give --prompt '
                              '"white blood cell . platelet" or model.prompt in the config')
        return self.prompt

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        return super().loss(batch_inputs, self._prompted(batch_data_samples))

    def predict(self, batch_inputs: Tensor, batch_data_samples: SampleList, rescale: bool = True) -> SampleList:
        return super().predict(batch_inputs, self._prompted(batch_data_samples), rescale=rescale)

    def _prompted(self, samples: SampleList) -> SampleList:
        for sample in samples:
            if 'text' not in sample:
                sample.set_metainfo({'text': self.set_prompt(None), 'custom_entities': True})
        return samples


@MODELS.register_module()
class LocalBert(bert.BertModel):
    """MMDetection's BertModel from a local folder; nothing is downloaded. Runs with transformers 4 and 5.

    Args:
        name: the folder, with config.json, weights and tokenizer as ``save_pretrained`` writes them.
        **kwargs: of the parent.

    Raises: ConfigError if transformers is missing, or there is no such folder.
    """

    def __init__(self, name: str, **kwargs) -> None:
        if bert.AutoTokenizer is None:
            raise ConfigError('LocalBert needs the package transformers: pip install transformers')
        if not Path(name, 'config.json').is_file():
            raise ConfigError(f'LocalBert: {name}: no folder of a text model, it has no config.json. Download '
                              'bert-base-uncased beforehand and give its folder')
        super().__init__(name=name, **kwargs)
        import transformers
        if int(transformers.__version__.partition('.')[0]) >= 5:
            self.language_backbone.body.model.register_forward_pre_hook(_mask_a_head, with_kwargs=True)

    def forward(self, captions: Sequence[str], **kwargs) -> dict:
        self.tokenizer.batch_encode_plus = self.tokenizer  # the name that transformers 5 no longer has
        return super().forward(list(captions), **kwargs)


def _narrow_code(module, arguments: tuple) -> tuple:
    """Codes of boxes (..., 4 * 2D) in the width that ``module`` takes, (..., 4 * D): each second frequency, which are
    those of ``coordinate_to_encoding(boxes, num_feats=D)``; codes of this width stay."""
    code, = arguments
    wanted = module.layers[0].in_features
    if code.shape[-1] == 2 * wanted:
        code = code.unflatten(-1, (4, -1, 2))[..., ::2, :].flatten(-3)
    return (code,)


def _mask_a_head(module, arguments: tuple, named: dict) -> tuple[tuple, dict]:
    """Masks of pairs of tokens, (B, L, L), as (B, 1, L, L) for all heads: transformers 5 takes no others."""
    mask = named.get('attention_mask')
    if mask is not None and mask.ndim == 3:
        named = {**named, 'attention_mask': mask[:, None]}
    return arguments, named
