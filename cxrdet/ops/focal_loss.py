"""Sigmoid and softmax focal loss (Lin et al., Focal Loss for Dense Object Detection, ICCV 2017), as mmcv calls them.

input: (N, C) logits (sigmoid) or probabilities (softmax). target: (N,) int64; for the sigmoid loss a target outside
[0, C) is background (no class is positive). weight: (C,) per class of the target, or empty. Results go into the
tensors that mmcv has allocated, unreduced. Computed in float32 at least.

With p = sigmoid(x) and p_t = p for the target's class, 1 - p for the others (equations 4 and 5 of the paper):
    L = -alpha_t * (1 - p_t)^gamma * log(p_t)
The logarithms are taken with ``logsigmoid``, exact for any logit; mmcv's CUDA kernel loses log(1 - p) above x = 17.
"""
import torch
import torch.nn.functional as F
from torch import Tensor

from cxrdet.ops.kernels import exact_dtype


def sigmoid_focal_loss_forward(input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float,
                               alpha: float) -> None:
    """Loss of every logit -> output (N, C)."""
    (p, q, log_p, log_q), positive, scale = _sigmoid_terms(input, target, weight)
    loss = torch.where(positive, -alpha * q**gamma * log_p, -(1 - alpha) * p**gamma * log_q)
    output.copy_(loss * scale)


def sigmoid_focal_loss_backward(input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float,
                                alpha: float) -> None:
    """Derivative of every loss of :func:`sigmoid_focal_loss_forward` by its logit -> grad_input (N, C)."""
    (p, q, log_p, log_q), positive, scale = _sigmoid_terms(input, target, weight)
    gradient = torch.where(positive, alpha * q**gamma * (gamma * p * log_p - q),
                           (1 - alpha) * p**gamma * (p - gamma * q * log_q))
    grad_input.copy_(gradient * scale)


def _sigmoid_terms(input: Tensor, target: Tensor, weight: Tensor) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
    """p, 1 - p and their logarithms, mask of the positive logits, all (N, C); (N, 1) weight of the row's target.

    Background weighs 1.
    """
    logits, classes = input.to(exact_dtype(input)), input.shape[1]
    positive = target[:, None] == torch.arange(classes, device=target.device)
    scale = logits.new_ones(len(logits), 1)
    if weight.numel() and classes:
        known = (target >= 0) & (target < classes)
        scale[known, 0] = weight.to(logits.dtype)[target[known]]
    terms = logits.sigmoid(), (-logits).sigmoid(), F.logsigmoid(logits), F.logsigmoid(-logits)
    return terms, positive, scale


def softmax_focal_loss_forward(input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float,
                               alpha: float) -> None:
    """-alpha * (1 - p)^gamma * log(p) of the target's probability -> output (N,); a negative target gives 0."""
    p, scale = _target_probability(input, target, weight)
    output.copy_(-alpha * (1 - p)**gamma * p.log() * scale)


def softmax_focal_loss_backward(input: Tensor, target: Tensor, weight: Tensor, buff: Tensor, grad_input: Tensor,
                                gamma: float, alpha: float) -> None:
    """Derivative of each row's loss by the logits behind the softmax -> grad_input (N, C); ``buff`` (N,) is filled too.

    dL/dx_c = dL/dp * p * ([c = target] - p_c).
    """
    p, scale = _target_probability(input, target, weight)
    q = (1 - p).clamp(min=torch.finfo(p.dtype).tiny)  # 0 to a negative power would be inf * 0
    slope = alpha * (gamma * q**(gamma - 1) * p * p.log() - q**gamma) * scale
    buff.copy_(slope)
    flags = target[:, None] == torch.arange(input.shape[1], device=target.device)
    grad_input.copy_(slope[:, None] * (flags.to(p.dtype) - input.to(p.dtype)))


def _target_probability(input: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Probability (N,) of the target, at least the smallest normal number, and the row's weight (0 if target < 0)."""
    probabilities = input.to(exact_dtype(input))
    index = target.clamp(min=0)
    p = probabilities.gather(1, index[:, None])[:, 0].clamp(min=torch.finfo(probabilities.dtype).tiny)
    scale = (target >= 0).to(p.dtype)
    if weight.numel():
        scale = scale * weight.to(p.dtype)[index]
    return p, scale
