"""Convolution at chosen places only (Wang et al., Guided Anchoring, CVPR 2019, section 3.3), as mmcv calls it.

mmcv gathers the patches around the places (im2col), multiplies them by the weight itself, and scatters the results
(col2im). Batch 1, stride 1, no gradient: guided anchoring uses it in inference only.
"""
import torch.nn.functional as F
from torch import Tensor


def masked_im2col_forward(im: Tensor, mask_h_idx: Tensor, mask_w_idx: Tensor, col: Tensor, kernel_h: int, kernel_w: int,
                          pad_h: int, pad_w: int) -> None:
    """Patches of ``im`` (1, C, H, W) at N places -> col (C * kernel_h * kernel_w, N); beyond the border they are 0.

    ``mask_h_idx``, ``mask_w_idx``: (N,) int64, the places in the output, whose patches begin ``pad`` before them.
    """
    after = (max(kernel_w - 1 - pad_w, 0), max(kernel_h - 1 - pad_h, 0))
    padded = F.pad(im[0], (pad_w, after[0], pad_h, after[1]))
    patches = padded.unfold(1, kernel_h, 1).unfold(2, kernel_w, 1)[:, mask_h_idx, mask_w_idx]
    col.copy_(patches.permute(0, 2, 3, 1).reshape(col.shape))


def masked_col2im_forward(col: Tensor, mask_h_idx: Tensor, mask_w_idx: Tensor, im: Tensor, height: int, width: int,
                          channels: int) -> None:
    """Values ``col`` (channels, N) -> im (1, channels, height, width) at their places; the others stay."""
    im[0][:, mask_h_idx, mask_w_idx] = col.to(im.dtype)
