"""Attention between image and text, by PyTorch's fused kernel."""
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import MLP

from cxrdet.core.errors import ConfigError
from cxrdet.registry import MODELS


class Attention(nn.Module):
    """Multi-head attention by ``scaled_dot_product_attention``, with projections of their own for q, k and v.

    Unlike ``nn.MultiheadAttention`` it never makes the weights of all pairs, and the sides may have different widths.

    Args:
        dims: of the queries, D.
        context_dims: of keys and values, C; None: D.
        heads: a divisor of D.

    Raises: ConfigError if it is none.
    """

    def __init__(self, dims: int, *, context_dims: int | None = None, heads: int = 4) -> None:
        super().__init__()
        if dims % heads:
            raise ConfigError(f'Attention: {dims} dimensions cannot be shared by {heads} heads')
        self.heads = heads
        self.query = nn.Linear(dims, dims)
        self.key = nn.Linear(context_dims or dims, dims)
        self.value = nn.Linear(context_dims or dims, dims)
        self.out = nn.Linear(dims, dims)
        for layer in (self.query, self.key, self.value, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """Attend.

        Args:
            query: (B, Q, D).
            key, value: (B, K, C).
            mask: (B, K) bool, True where there is something; a row must not be False throughout. None: all.

        Returns: (B, Q, D).
        """
        queries, keys, values = (self._split(layer(part)) for layer, part in (
            (self.query, query), (self.key, key), (self.value, value)))
        found = functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=None if mask is None else mask[:, None, None])
        return self.out(found.transpose(1, 2).flatten(2))

    def _split(self, part: Tensor) -> Tensor:
        """(B, L, D) -> (B, heads, L, D / heads)."""
        return part.unflatten(2, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Module):
    """x + MLP(norm(x)), (..., D) -> (..., D)."""

    def __init__(self, dims: int, *, hidden: int, dropout: float = 0.) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dims)
        self.layers = MLP(dims, [hidden, dims], activation_layer=nn.GELU, inplace=None, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(self.norm(x))


@MODELS.register_module()
class FusionLayer(nn.Module):
    """Words look at the image and the image at the words, both from the same state; then a feed-forward layer each.

    As the feature enhancer of Grounding DINO (Liu et al., arXiv 2303.05499) without its self-attention; residual, with
    the norms in front.

    Args:
        dims: of image and text tokens.
        heads: of the attention.
        feedforward_dims: hidden width.
        dropout: in the feed-forward layers, 0 to 1.
    """

    def __init__(self, dims: int = 256, *, heads: int = 4, feedforward_dims: int = 1024, dropout: float = 0.) -> None:
        super().__init__()
        self.image_norm, self.text_norm = nn.LayerNorm(dims), nn.LayerNorm(dims)
        self.image_to_text = Attention(dims, heads=heads)
        self.text_to_image = Attention(dims, heads=heads)
        self.image_feedforward = FeedForward(dims, hidden=feedforward_dims, dropout=dropout)
        self.text_feedforward = FeedForward(dims, hidden=feedforward_dims, dropout=dropout)

    def forward(self, image: Tensor, text: Tensor, *, positions: Tensor, image_mask: Tensor | None,
                text_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse.

        Args:
            image: (B, T, D) tokens.
            text: (B, W, D) words.
            positions: (B, T, D) codes of the places of the image tokens; they are added to queries and keys.
            image_mask, text_mask: (B, T) and (B, W) bool, False for padding.

        Returns: both as they came in shape.
        """
        pixels, words = self.image_norm(image), self.text_norm(text)
        placed = pixels + positions
        image = image + self.image_to_text(placed, words, words, mask=text_mask)
        text = text + self.text_to_image(words, placed, pixels, mask=image_mask)
        return self.image_feedforward(image), self.text_feedforward(text)


def mean_of_words(words: Tensor, mask: Tensor) -> Tensor:
    """Mean over the words of each phrase: (..., L, D) with mask (..., L) -> (..., D); 0 where there is no word."""
    share = mask.to(words.dtype)[..., None]
    return (words * share).sum(dim=-2) / share.sum(dim=-2).clamp(min=1)


def sine_code(places: Tensor, dims: int) -> Tensor:
    """Sines and cosines of numbers in about 0 to 1: (..., N) -> (..., ``dims``), ``dims`` / N for each number.

    Wavelengths grow geometrically from 1/64 to 4, for details of a few pixels and for halves of an image alike.
    """
    each = dims // places.shape[-1] // 2
    waves = torch.logspace(6, -2, each, base=2, device=places.device, dtype=places.dtype) * 2 * torch.pi
    angles = places[..., None] * waves
    return torch.cat((angles.sin(), angles.cos()), dim=-1).flatten(-2)
