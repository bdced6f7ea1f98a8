"""Linear BoT attention: self-attention over the positions of a map, linear in their number.

Paper: Katharopoulos, Vyas, Pappas, Fleuret, "Transformers are RNNs: Fast Autoregressive Transformers with Linear
Attention", ICML 2020, arXiv 2006.16236, equations 4-7. Own implementation, written from the equations.
"""
from torch import Tensor

from cxrdet.models.layers.bot_attention import PositionAttention
from cxrdet.registry import MODELS


def elu_plus_one(x: Tensor) -> Tensor:
    """``elu(x) + 1`` (equation 7) as ``max(x, 0) + exp(min(x, 0))``: the same, without 1 - 1 in low precision."""
    return x.clamp(min=0) + x.clamp(max=0).exp()


def scaled(x: Tensor, dims: list[int]) -> Tensor:
    """``x`` > 0 over its maximum along ``dims``; a constant to the gradient, since the layer divides it out again."""
    return x / x.detach().amax(dims, keepdim=True).clamp(min=1e-4)  # a normal number in float16


@MODELS.register_module()
class LinearBoTAttention(PositionAttention):
    """Self-attention with a kernel in place of the softmax: ``y = x + scale * P(heads)``, and in each head

    ``o_a = sum_b phi(q_a) . phi(k_b) v_b / sum_b phi(q_a) . phi(k_b)`` with ``phi(x) = elu(x) + 1`` (equations 4, 7).

    The sums over b are made once for all a (equations 5, 6), so time is O(H W M^2 / num_heads) and memory O(H W M): it
    may stand behind any stage. There is no position encoding: permuting the positions of ``x`` permutes ``y``. phi(q_a)
    is brought to the sum 1 and phi(k) to the maximum 1, so that float16 holds all sums, and the denominator, as a mean
    over b, is held at 1e-6 or more.
    Arguments: :class:`cxrdet.models.layers.bot_attention.PositionAttention`.

    Raises: ConfigError if an argument is out of range, or ``num_heads`` does not divide the channels of q, k and v.
    """
    _abbr_ = 'bot_linear'

    def attend(self, q: Tensor, k: Tensor, v: Tensor, height: int, width: int) -> Tensor:
        """q, k, v: (N, heads, d, H * W); gives the same shape."""
        q, k = scaled(elu_plus_one(q), [2]), scaled(elu_plus_one(k), [2, 3])
        q = q / q.detach().sum(2, keepdim=True).clamp(min=1e-4)
        root = (height * width) ** -0.5  # means in place of sums: these fit float16 at any size
        context = (v * root) @ (k * root).transpose(2, 3)  # (N, heads, d of v, d of k)
        norm = k.mean(3, keepdim=True).transpose(2, 3) @ q  # (N, heads, 1, H * W)
        return (context @ q) / norm.clamp(min=1e-6)
