"""RoIAlign on a CPU, forward and backward, in float32 and on all threads of PyTorch.

torchvision's kernel for CPUs goes through a box channel by channel, and computes the gradient on one thread. Here the
bilinear weights of all samples of a bin are summed once for each axis, and the innermost loops run over channels that
lie side by side in memory: with the weights ``wy`` (rows of bins, rows of pixels) and ``wx`` of a box, its bins are
``wy @ pixels @ wx.T``, and its part of the gradient is ``wy.T @ gradient @ wx``. Results do not depend on the number of
threads.
"""
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from cxrdet.core.compiled import compiled


def roi_align_forward(input: Tensor, rois: Tensor, size: tuple[int, int], scale: float, ratio: int,
                      aligned: bool) -> Tensor:
    """Mean of bilinear samples per bin.

    Args:
        input: (B, C, H, W) on the CPU; fastest in channels-last order.
        rois: (R, 5) index of the image and xyxy in its pixels.
        size: Rows and columns of bins.
        scale: Of the map over the image.
        ratio: Samples of a bin along each axis; 0 takes one a pixel of the map, rounded up.
        aligned: Whether coordinates are shifted by half a pixel, and boxes may be smaller than one.

    Returns: (R, C, *size) float32 in channels-last order.
    Raises: IndexError for an index of an image that is not there.
    """
    images, *axes = _weights_of_boxes(rois, input.shape, size, scale, ratio, aligned)
    pixels = input.detach().float().permute(0, 2, 3, 1).contiguous().numpy()
    output = np.zeros((len(rois), *size, input.shape[1]), np.float32)
    _on_threads(lambda begin, end: _forward(pixels, images, *axes, begin, end, output), len(rois))
    return torch.from_numpy(output).permute(0, 3, 1, 2)


def roi_align_backward(grad_output: Tensor, rois: Tensor, shape: tuple[int, int, int, int], scale: float, ratio: int,
                       aligned: bool) -> Tensor:
    """Gradient of :func:`roi_align_forward` with respect to its input.

    Args:
        grad_output: (R, C, rows, columns) on the CPU.
        shape: (B, C, H, W) of the input; the others as there.

    Returns: (B, C, H, W) float32 in channels-last order.
    """
    images, *axes = _weights_of_boxes(rois, shape, grad_output.shape[2:], scale, ratio, aligned)
    batch, channels, height, width = shape
    result = np.zeros((batch, height, width, channels), np.float32)
    gradient = grad_output.detach().float().permute(0, 2, 3, 1).contiguous().numpy()
    _on_threads(lambda begin, end: _backward(gradient, images, *axes, begin, end, result), channels)
    return torch.from_numpy(result).permute(0, 3, 1, 2)


def _weights_of_boxes(rois: Tensor, shape: tuple[int, ...], size: tuple[int, int], scale: float, ratio: int,
                      aligned: bool) -> tuple[np.ndarray, ...]:
    """Index of each box's image; for rows and for columns what :func:`_weights` returns; first and last column + 1.

    Starts, steps and numbers of samples are rounded as in torchvision, to float32.
    """
    rois = rois.detach().float()
    images = rois[:, 0].long()
    if len(rois) and not 0 <= int(images.min()) <= int(images.max()) < shape[0]:
        raise IndexError(f'rois name images {int(images.min())} to {int(images.max())}; there are {shape[0]}')
    found = [images.numpy()]
    for low, high, bins, pixels in ((2, 4, size[0], shape[2]), (1, 3, size[1], shape[3])):
        shift = 0.5 if aligned else 0.0
        start = rois[:, low] * scale - shift
        length = rois[:, high] * scale - shift - start
        step = (length if aligned else length.clamp(min=1)) / bins
        samples = torch.full_like(images, ratio) if ratio > 0 else step.ceil().nan_to_num(0).long()
        widest = min(step.abs().ceil().nan_to_num(0).max().item() + 2, pixels) if len(rois) else 1
        found += _weights(start.numpy(), step.numpy(), samples.numpy(), bins, pixels, int(widest))
    first, number = found[-3:-1]
    return *found, np.where(number > 0, first, shape[3]).min(1), (first + number).max(1)


def _on_threads(function: Callable[[int, int], None], count: int) -> None:
    """Call ``function(begin, end)`` for equal parts of range(count), one a thread."""
    parts = min(torch.get_num_threads(), count)
    if parts < 2:
        function(0, count)
        return
    ends = [count * part // parts for part in range(parts + 1)]
    with ThreadPoolExecutor(parts) as pool:
        list(pool.map(function, ends[:-1], ends[1:]))


@compiled
def _weights(start, step, samples, bins, pixels, widest):
    """The weights of pixels in bins along one axis: of bin b, pixel ``first[r, b] + k`` has ``weights[r, b, k]``.

    Args:
        start, step, samples: (R,) float32, float32 and int64: place of a box, size of its bins, samples in each.
        pixels: Of the map.
        widest: K, the most pixels that a bin takes.

    Returns: first (R, bins), number of pixels (R, bins), weights (R, bins, K).
    """
    first, number = np.zeros((len(start), bins), np.int64), np.zeros((len(start), bins), np.int64)
    weights = np.zeros((len(start), bins, widest), np.float32)
    for box in range(len(start)):
        count = np.float32(samples[box])
        for b in range(bins):
            for k in range(samples[box]):
                i = k if step[box] > 0 else samples[box] - 1 - k  # pixels rise
                place = start[box] + np.float32(b) * step[box] + (np.float32(i) + np.float32(0.5)) * step[box] / count
                if place < -1 or place > pixels:
                    continue
                place = min(max(place, np.float32(0)), np.float32(pixels - 1))
                pixel = int(place)
                after = min(pixel + 1, pixels - 1)
                share = place - np.float32(pixel)
                if number[box, b] == 0:
                    first[box, b] = pixel
                number[box, b] = after + 1 - first[box, b]
                weights[box, b, pixel - first[box, b]] += (np.float32(1) - share) / count
                weights[box, b, after - first[box, b]] += share / count
    return first, number, weights


@compiled
def _forward(pixels, images, first_y, number_y, weights_y, first_x, number_x, weights_x, left, right, begin, end,
             output):
    """Boxes ``begin`` to ``end`` of ``pixels`` (B, H, W, C) -> output (R, rows, columns, C)."""
    rows, columns, channels = output.shape[1:]
    line = np.zeros((pixels.shape[2], channels), np.float32)  # a row of bins whose columns still are pixels
    for box in range(begin, end):
        for i in range(rows):
            line[left[box]:right[box]] = 0
            for k in range(number_y[box, i]):
                weight, row = weights_y[box, i, k], pixels[images[box], first_y[box, i] + k]
                for x in range(left[box], right[box]):
                    for c in range(channels):
                        line[x, c] += weight * row[x, c]
            for j in range(columns):
                for k in range(number_x[box, j]):
                    weight, x = weights_x[box, j, k], first_x[box, j] + k
                    for c in range(channels):
                        output[box, i, j, c] += weight * line[x, c]


@compiled
def _backward(gradient, images, first_y, number_y, weights_y, first_x, number_x, weights_x, left, right, begin, end,
              result):
    """Channels ``begin`` to ``end`` of ``gradient`` (R, rows, columns, C) spread over pixels -> result (B, H, W, C)."""
    gradient, result = gradient[..., begin:end], result[..., begin:end]
    rows, columns, channels = gradient.shape[1:]
    line = np.zeros((result.shape[2], channels), np.float32)
    for box in range(len(gradient)):
        for i in range(rows):
            line[left[box]:right[box]] = 0
            for j in range(columns):
                for k in range(number_x[box, j]):
                    weight, x = weights_x[box, j, k], first_x[box, j] + k
                    for c in range(channels):
                        line[x, c] += weight * gradient[box, i, j, c]
            for k in range(number_y[box, i]):
                weight, row = weights_y[box, i, k], result[images[box], first_y[box, i] + k]
                for x in range(left[box], right[box]):
                    for c in range(channels):
                        row[x, c] += weight * line[x, c]
