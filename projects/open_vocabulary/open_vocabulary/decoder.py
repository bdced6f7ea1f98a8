"""Queries that look at the image and become boxes with a score for each phrase."""
import math
from typing import NamedTuple

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torchvision.ops import MLP

from cxrdet.core.errors import check_choice, check_numbers
from cxrdet.registry import MODELS

from .fusion import Attention, FeedForward, sine_code
from .text_encoders import cosines

_NONE = -50.  # logit of a phrase or token that is not there: its score and its gradient are 0
_PRIOR = 0.01  # score of anything at the start, as in RetinaNet


class Tokens(NamedTuple):
    """The image as the decoder takes it.

    Attributes:
        features: (B, T, D).
        positions: (B, T, D) codes of their places.
        places: (B, T, 4) cx, cy, w, h of where a box would start, in parts of the image's width and height.
        mask: (B, T) bool, False for padding; None: there is no padding.
    """

    features: Tensor
    positions: Tensor
    places: Tensor
    mask: Tensor | None


class Found(NamedTuple):
    """Boxes and what they show.

    Attributes:
        logits: (..., N, P) of each box for each phrase; -50 for phrases that are not there.
        boxes: (..., N, 4) cx, cy, w, h in parts of the image's width and height.
    """

    logits: Tensor
    boxes: Tensor


class PhraseScores(nn.Module):
    """Cosine similarity of boxes with phrases over a learned temperature, plus a learned offset.

    The temperature starts at 0.1 and is held above 0.01; the offset starts where dissimilar things have score 0.01.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.)))
        self.offset = nn.Parameter(torch.tensor(math.log(_PRIOR / (1 - _PRIOR))))

    def forward(self, features: Tensor, phrases: Tensor, phrase_mask: Tensor) -> Tensor:
        """(B, N, D), (B, P, D), (B, P) bool -> (B, N, P) logits in float32."""
        with torch.autocast(features.device.type, enabled=False):
            scale = self.log_scale.clamp(max=math.log(100.)).exp()
            logits = cosines(features.float(), phrases.float()) * scale + self.offset
        return logits.masked_fill(~phrase_mask[:, None], _NONE)


@MODELS.register_module()
class QueryDecoder(BaseModule):
    """Learned queries, refined layer by layer: attention among them, to the image, a feed-forward layer, a new box.

    As DAB-DETR (Liu et al., arXiv 2201.12329): a query has a box, whose sines and cosines tell the attention where it
    looks, and each layer corrects it. Started from the image, as two-stage Deformable DETR (Zhu et al., arXiv
    2010.04159): every token proposes a box, and the tokens that fit a phrase best become the queries' places and
    contents; this also trains the tokens, and converges on little data.

    Args:
        dims: width, D.
        num_queries: boxes of an image.
        num_layers: at least 1.
        heads: of the attention.
        feedforward_dims: hidden width.
        start: 'image' or 'learned' places of the queries.
        dropout: in the feed-forward layers, 0 to 1.

    Raises: ConfigError for arguments out of range.
    """

    def __init__(self, dims: int = 256, *, num_queries: int = 20, num_layers: int = 3, heads: int = 4,
                 feedforward_dims: int = 1024, start: str = 'image', dropout: float = 0.,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        check_numbers('QueryDecoder', num_queries=(num_queries, '[1, inf)'), num_layers=(num_layers, '[1, inf)'))
        check_choice('QueryDecoder: start', start, ('image', 'learned'))
        self.start, self.dims = start, dims
        self.queries = nn.Parameter(torch.randn(num_queries, dims) * 0.02)
        self.layers = nn.ModuleList(_DecoderLayer(dims, heads, feedforward_dims, dropout) for _ in range(num_layers))
        self.place_code = MLP(2 * dims, [dims, dims], inplace=None)
        self.box_layers = nn.ModuleList(_box_layers(dims) for _ in range(num_layers))
        self.class_layers = nn.ModuleList(MLP(dims, [dims, dims], inplace=None) for _ in range(num_layers))
        self.scores = PhraseScores()
        if start == 'image':
            self.token_norm, self.token_boxes = nn.LayerNorm(dims), _box_layers(dims)
            self.token_classes, self.token_query = MLP(dims, [dims, dims], inplace=None), nn.Linear(dims, dims)
        else:
            places = torch.rand(num_queries, 2) * 0.9 + 0.05
            self.places = nn.Parameter(logit(torch.cat((places, torch.full((num_queries, 2), 0.2)), dim=1)))

    def forward(self, tokens: Tokens, phrases: Tensor, phrase_mask: Tensor) -> tuple[list[Found], Found | None]:
        """Decode.

        Args:
            tokens: the image.
            phrases: (B, P, D) a vector a phrase.
            phrase_mask: (B, P) bool, False for padding.

        Returns: what each layer has found, the last one last, with as many boxes as there are queries (or tokens, if
            these are fewer); what all tokens propose, None where the places are learned.
        """
        batch = len(phrases)
        if self.start == 'image':
            proposed, queries, boxes = self._propose(tokens, phrases, phrase_mask)
        else:
            proposed, queries = None, self.queries.expand(batch, -1, -1)
            boxes = self.places.sigmoid().expand(batch, -1, -1)
        keys = tokens.features + tokens.positions
        found = []
        for layer, box_layers, class_layers in zip(self.layers, self.box_layers, self.class_layers):
            code = self.place_code(sine_code(boxes, 2 * self.dims).to(queries.dtype))
            queries, out = layer(queries, code, keys, tokens.features, tokens.mask)
            refined = (box_layers(out).float() + logit(boxes)).sigmoid()
            found.append(Found(self.scores(class_layers(out), phrases, phrase_mask), refined))
            boxes = refined.detach()
        return found, proposed

    def _propose(self, tokens: Tokens, phrases: Tensor, phrase_mask: Tensor) -> tuple[Found, Tensor, Tensor]:
        """What each token proposes; contents (B, N, D) and boxes (B, N, 4) of the queries that start from the best."""
        features = self.token_norm(tokens.features)
        logits = self.scores(self.token_classes(features), phrases, phrase_mask)
        boxes = (self.token_boxes(features).float() + logit(tokens.places)).sigmoid()
        if tokens.mask is not None:
            logits = logits.masked_fill(~tokens.mask[..., None], _NONE)
        count = min(len(self.queries), logits.shape[1])
        best = logits.detach().amax(dim=2).topk(count, dim=1).indices[..., None]
        chosen = features.gather(1, best.expand(-1, -1, features.shape[2]))
        places = boxes.detach().gather(1, best.expand(-1, -1, 4))
        return Found(logits, boxes), self.queries[:count] + self.token_query(chosen), places


class _DecoderLayer(nn.Module):
    def __init__(self, dims: int, heads: int, feedforward_dims: int, dropout: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(dims) for _ in range(3))
        self.among, self.to_image = Attention(dims, heads=heads), Attention(dims, heads=heads)
        self.feedforward = FeedForward(dims, hidden=feedforward_dims, dropout=dropout)

    def forward(self, queries: Tensor, code: Tensor, keys: Tensor, values: Tensor,
                mask: Tensor | None) -> tuple[Tensor, Tensor]:
        inner = self.norms[0](queries)
        placed = inner + code
        queries = queries + self.among(placed, placed, inner)
        queries = queries + self.to_image(self.norms[1](queries) + code, keys, values, mask=mask)
        queries = self.feedforward(queries)
        return queries, self.norms[2](queries)


def logit(share: Tensor) -> Tensor:
    """Inverse of the sigmoid, of numbers held within 0.001 and 0.999."""
    return share.float().clamp(1e-3, 1 - 1e-3).logit()


def _box_layers(dims: int) -> MLP:
    """Corrections of a box, 0 at the start."""
    layers = MLP(dims, [dims, dims, 4], inplace=None)
    last = [layer for layer in layers if isinstance(layer, nn.Linear)][-1]
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return layers
