"""Masked convolution through ``mmcv.ops``: against the whole convolution."""
import pytest
import torch
import torch.nn.functional as F


def arguments(kernel, device):
    generator = torch.Generator().manual_seed(0)
    shapes = (1, 3, 6, 7), (4, 3, *kernel), (4,)
    x, weight, bias = (torch.randn(shape, generator=generator).to(device) for shape in shapes)
    return x, weight, bias, torch.rand(1, 6, 7, generator=generator).to(device) > 0.6


@pytest.mark.parametrize(('kernel', 'padding'), [((3, 3), 1), ((3, 3), 2), ((1, 1), 0), ((3, 1), (1, 0))])
def test_equals_the_convolution_where_the_mask_is(ops, device, called, kernel, padding):
    x, weight, bias, mask = arguments(kernel, device)
    result = ops.masked_conv2d(x, mask, weight, bias, padding)
    whole = F.conv2d(x, weight, bias, padding=padding)
    places = torch.zeros(whole.shape[2:], dtype=torch.bool, device=device)
    places[:6, :7] = mask[0]
    torch.testing.assert_close(result, torch.where(places, whole, 0), rtol=1e-5, atol=1e-5)
    assert called == {'masked_im2col_forward', 'masked_col2im_forward'}


def test_an_empty_mask(ops, device):
    x, weight, bias, mask = arguments((3, 3), device)
    assert not ops.masked_conv2d(x, torch.zeros_like(mask), weight, bias, 1).any()


def test_half_precision(ops, device):
    x, weight, bias, mask = arguments((3, 3), device)
    half = ops.masked_conv2d(x.half(), mask, weight.half(), bias.half(), 1)
    torch.testing.assert_close(half.float(), ops.masked_conv2d(x, mask, weight, bias, 1), rtol=1e-2, atol=2e-2)
