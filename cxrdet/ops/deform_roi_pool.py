"""Deformable RoI pooling (Dai et al., Deformable Convolutional Networks, ICCV 2017, equation 5), as mmcv calls it.

input (B, C, H, W). rois (R, 5): batch index and xyxy in image pixels; ``spatial_scale`` maps them to the feature map,
less half a pixel, as in an aligned RoIAlign. offset (R, 2, P_h, P_w), or empty: by which each bin is moved, x, then y,
in shares of the box's width and height, times ``gamma``. A bin is the mean of ``sampling_ratio`` squared bilinear
samples, or, where that is 0, of one for each pixel begun in either direction.

mmcv computes the same, but for the gradient of the offset where a sample lies beyond the centres of the outermost
pixels. The map is constant there, and so it is derived here; mmcv's kernel goes on with the slope of the inside, or
takes 0 in both directions. Computed in float32 at least; gradients come from autograd.
"""
import torch
import torch.nn.functional as F
from torch import Tensor

from cxrdet.ops.kernels import exact_dtype, put_gradients


def deform_roi_pool_forward(input: Tensor, rois: Tensor, offset: Tensor, output: Tensor, pooled_height: int,
                            pooled_width: int, spatial_scale: float, sampling_ratio: int, gamma: float) -> None:
    """Mean per bin -> output (R, C, pooled_height, pooled_width)."""
    dtype = exact_dtype(input)
    boxes, bins = rois.to(dtype), (pooled_height, pooled_width)
    output.copy_(_pool(input.to(dtype), boxes, offset.to(dtype), bins, spatial_scale, sampling_ratio, gamma))


def deform_roi_pool_backward(grad_output: Tensor, input: Tensor, rois: Tensor, offset: Tensor, grad_input: Tensor,
                             grad_offset: Tensor, pooled_height: int, pooled_width: int, spatial_scale: float,
                             sampling_ratio: int, gamma: float) -> None:
    """Gradients of :func:`deform_roi_pool_forward` -> grad_input (B, C, H, W), grad_offset (as offset)."""
    boxes, bins = rois.to(exact_dtype(input)), (pooled_height, pooled_width)
    put_gradients((grad_input, grad_offset), lambda features, moved: _pool(
        features, boxes, moved, bins, spatial_scale, sampling_ratio, gamma), (input, offset), grad_output)


def _pool(input: Tensor, rois: Tensor, offset: Tensor, bins: tuple[int, int], scale: float, ratio: int,
          gamma: float) -> Tensor:
    """Every bin as a weighted sum of pixels: those around each of its samples."""
    batch, channels, height, width = input.shape
    xy = rois[:, 1:].reshape(-1, 2, 2) * scale - 0.5
    size = xy[:, 1] - xy[:, 0]                                                             # (R, 2) width and height
    step = size / size.new_tensor(bins[::-1])
    count = (torch.full_like(step, ratio) if ratio > 0 else step.ceil().clamp(min=0)).long()   # samples of a bin
    corner = xy[:, 0, :, None, None] + step[:, :, None, None] * torch.stack(torch.meshgrid(
        *(torch.arange(n, dtype=xy.dtype, device=xy.device) for n in bins[::-1]), indexing='xy'))
    if offset.numel():
        corner = corner + gamma * size[:, :, None, None] * offset
    corner = corner.permute(0, 2, 3, 1).reshape(-1, 2)                                     # (R * P_h * P_w, 2)

    samples = count.prod(1).repeat_interleave(bins[0] * bins[1])
    first = samples.cumsum(0) - samples
    of_bin = torch.arange(len(samples), device=rois.device).repeat_interleave(samples)
    of_roi = of_bin // (bins[0] * bins[1])
    number = torch.arange(len(of_bin), device=rois.device) - first[of_bin]
    across = count[of_roi, 0]
    place = torch.stack([number % across, number // across], 1) + 0.5
    x, y = (corner[of_bin] + place * (step / count)[of_roi]).unbind(1)

    inside = (y >= -1) & (y <= height) & (x >= -1) & (x <= width)
    rows, columns = _around(y, height), _around(x, width)
    begin = rois[of_roi, 0].long() * height
    pixels = torch.stack([(begin + row) * width + column for row, _ in rows for column, _ in columns], 1)
    weights = torch.stack([a * b * inside for _, a in rows for _, b in columns], 1) / samples[of_bin, None]
    table = input.permute(0, 2, 3, 1).reshape(-1, channels)
    pooled = F.embedding_bag(pixels.flatten(), table, 4 * first, mode='sum', per_sample_weights=weights.flatten())
    return pooled.reshape(len(rois), *bins, channels).permute(0, 3, 1, 2)


def _around(place: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    """The two pixels around each place, the outermost ones from their centres on, each with its weight."""
    place = place.clamp(0, size - 1)
    low = place.detach().floor().long()
    share = place - low
    return [(low, 1 - share), ((low + 1).clamp(max=size - 1), share)]
