"""RoIAlign on the CPU in float32: against torchvision's kernels, forward and backward."""
import pytest
import torch

from cxrdet.ops.kernels import torchvision_ops
from cxrdet.ops.roi_align import roi_align_backward, roi_align_forward

SHAPE = 3, 5, 20, 31


def boxes(seed: int, count: int = 40) -> torch.Tensor:
    """Small and large boxes, some across the borders or far outside, without area, or turned inside out."""
    generator = torch.Generator().manual_seed(seed)
    centres, sides = torch.rand(count, 2, generator=generator) * 60 - 10, torch.rand(count, 2, generator=generator) * 50
    odd = torch.tensor([[0, 3, 3, 3, 3], [1, 9, 9, 4, 2], [2, -500, -500, -400, -400], [0, -200, -200, 200, 200],
                        [1, 0, 0, 62, 40]])
    images = torch.randint(0, SHAPE[0], (count, 1), generator=generator)
    return torch.cat([odd, torch.cat([images, centres - sides / 2, centres + sides / 2], 1)])


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('ratio', [0, 1, 3])
@pytest.mark.parametrize('scale, size', [(0.5, (7, 7)), (1 / 3, (2, 5)), (1.0, (1, 1))])
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_equals_torchvision(scale, size, ratio, aligned, layout):
    input = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1)).contiguous(memory_format=layout)
    rois = boxes(2)
    expected = torchvision_ops().roi_align(input.contiguous(), rois, scale, *size, ratio, aligned)
    result = roi_align_forward(input, rois, size, scale, ratio, aligned)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)
    gradient = torch.randn(expected.shape, generator=torch.Generator().manual_seed(3))
    expected = torchvision_ops()._roi_align_backward(gradient, rois, scale, *size, *SHAPE, ratio, aligned)
    result = roi_align_backward(gradient, rois, SHAPE, scale, ratio, aligned)
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)


def test_threads_change_nothing():
    input, rois = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1)), boxes(4)
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            output = roi_align_forward(input, rois, (7, 7), 0.5, 0, True)
            found.append((output, roi_align_backward(output, rois, SHAPE, 0.5, 0, True)))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for pair in found[1:] for one, other in zip(pair, found[0]))


@pytest.mark.parametrize('image', [-1, 3])
def test_an_image_that_is_not_there(image):
    with pytest.raises(IndexError, match=f'rois name images {min(image, 0)} to {max(image, 0)}; there are 3'):
        roi_align_forward(torch.zeros(SHAPE), torch.tensor([[0., 0, 0, 4, 4], [image, 0, 0, 4, 4]]), (2, 2), 1, 0, True)


def test_the_operator_of_mmcv_takes_it(ops, monkeypatch):
    """mmcv's function gives what torchvision's kernels give, and does not call them."""
    import torchvision
    input = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1)).requires_grad_()
    rois = boxes(5)
    expected = torchvision.ops.roi_align(input, rois, (7, 7), 0.5, 0, True)
    gradient, = torch.autograd.grad(expected.square().sum(), input)
    monkeypatch.setattr('cxrdet.ops.roi.torchvision_ops', lambda: pytest.fail('torchvision was called'))
    result = ops.roi_align(input, rois, (7, 7), 0.5, 0, 'avg', True)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(torch.autograd.grad(result.square().sum(), input)[0], gradient, rtol=1e-4, atol=1e-4)
