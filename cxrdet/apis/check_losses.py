"""Losses that the head around them would misread."""
from cxrdet.apis.check_args import takes
from cxrdet.apis.check_types import Part

__all__ = ['loss_problems']


def loss_problems(found: list[Part]) -> list[str]:
    """One line for every OHEMLoss of a dense head that does not tell it of the sigmoid in the loss that it wraps.

    Dense heads of MMDetection look for ``use_sigmoid`` in the config of their loss; without it they predict a score for
    the background, which a loss over sigmoids takes for one more class.
    """
    known = {part.path: part for part in found}
    problems = []
    for part in found:
        head, inner = known.get(part.path.rpartition('.')[0]), known.get(f'{part.path}.loss')
        if part.key == 'loss_cls' and _is(part, 'OHEMLoss') and not part.cfg.get('use_sigmoid') and head and inner and (
                _is(head, 'BaseDenseHead') and _sigmoid(inner)):
            problems.append(f'{part.path}.use_sigmoid: {head.name} reads it here and would predict a score for the '
                            f'background; give use_sigmoid=True, as the {inner.name} inside has it')
    return problems


def _is(part: Part, name: str) -> bool:
    return any(base.__name__ == name for base in getattr(part.found, '__mro__', ()))


def _sigmoid(loss: Part) -> bool:
    default = takes(loss.found).defaults.get('use_sigmoid') if callable(loss.found) else None
    return loss.cfg.get('use_sigmoid', default) is True
