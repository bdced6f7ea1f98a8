"""What a student is to learn from a teacher's class scores and features."""
import torch
from torch import Tensor, nn
from torch.nn import functional

from cxrdet.core.errors import check_numbers
from cxrdet.registry import MODELS


def softmax_kl(student: Tensor, teacher: Tensor, temperature: float = 3.0) -> Tensor:
    """``T^2 KL(p_t || p_s)`` of each row, with ``p = softmax(z / T)``, in float32.

    Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015 (arXiv 1503.02531), section 2; T^2 keeps
    the gradient's size whatever T is: ``dL/dz_s = T (p_s - p_t)``.

    Args:
        student, teacher: Logits (..., C).
        temperature: T, above 0.

    Returns: (...), at least 0.
    """
    ours = (student.float() / temperature).log_softmax(-1)
    theirs = (teacher.float() / temperature).log_softmax(-1)
    return temperature**2 * (theirs.exp() * (theirs - ours)).sum(-1)


def sigmoid_kl(student: Tensor, teacher: Tensor, temperature: float = 3.0) -> Tensor:
    """``T^2 KL(p_t || p_s)`` of each element as a yes or no of its own, with ``p = sigmoid(z / T)``, in float32.

    Its gradient is ``T (p_s - p_t)``, too.

    Args:
        student, teacher: Logits of one shape.
        temperature: T, above 0.

    Returns: that shape, at least 0.
    """
    ours, theirs = student.float() / temperature, teacher.float() / temperature
    yes = theirs.sigmoid() * (functional.logsigmoid(theirs) - functional.logsigmoid(ours))
    no = (-theirs).sigmoid() * (functional.logsigmoid(-theirs) - functional.logsigmoid(-ours))
    return temperature**2 * (yes + no)


def correlation_distance(student: Tensor, teacher: Tensor, eps: float = 1e-6) -> Tensor:
    """Half the mean squared difference of feature maps, each channel normalised over batch and place, in float32.

    That is 1 - r, with Pearson's correlation r of the two, averaged over the channels: 0 for maps that are the same up
    to scale and offset, 2 for opposite ones. Cao et al., "PKD: General Distillation Framework for Object Detectors via
    Pearson Correlation Coefficient", NeurIPS 2022 (arXiv 2207.02039).

    Args:
        student, teacher: (N, C, H, W), of one shape.
        eps: Added to the variances; a constant channel counts as zeros.

    Returns: a number.
    """
    def normalised(maps: Tensor) -> Tensor:
        variance, mean = torch.var_mean(maps.float(), dim=(0, 2, 3), correction=0, keepdim=True)
        return (maps.float() - mean) * (variance + eps).rsqrt()
    return functional.mse_loss(normalised(student), normalised(teacher)) / 2


@MODELS.register_module()
class DistillationLoss(nn.Module):
    """Mean over samples of ``T^2 KL(teacher || student)``, see :func:`softmax_kl` and :func:`sigmoid_kl`.

    Args:
        temperature: T, above 0.
        use_sigmoid: Each class is a yes or no of its own; their divergences are added up.
        loss_weight: Factor of the result.

    Raises: ConfigError if the temperature is not above 0.
    """

    def __init__(self, temperature: float = 3.0, *, use_sigmoid: bool = False, loss_weight: float = 1.0) -> None:
        super().__init__()
        check_numbers('DistillationLoss', temperature=(temperature, '(0, inf)'))
        self.temperature, self.use_sigmoid, self.loss_weight = temperature, use_sigmoid, loss_weight

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """A number; 0 with gradient 0 where there are no samples.

        Args:
            pred: The student's logits (N, C).
            target: The teacher's, (N, C); they get no gradient.
            weight: (N,), at least 0; the mean is then a weighted one.
        """
        if self.use_sigmoid:
            found = sigmoid_kl(pred, target.detach(), self.temperature).sum(-1)
        else:
            found = softmax_kl(pred, target.detach(), self.temperature)
        weight = torch.ones_like(found) if weight is None else weight.float()
        return self.loss_weight * (found * weight).sum() / weight.sum().clamp(min=torch.finfo(torch.float32).tiny)
