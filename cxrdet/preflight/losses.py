"""Losses that the head around them would misread."""
from cxrdet.preflight.arguments import takes
from cxrdet.preflight.types import Part

__all__ = ['loss_problems']


def loss_problems(found: list[Part]) -> list[str]:
    """One line for every loss whose head gives it something else than it expects.

    - OHEMLoss in a dense head: the heads of MMDetection look for ``use_sigmoid`` in the config of their loss; without
      it they predict a score for the background, which a loss over sigmoids takes for one more class.
    - Losses of the IoU (GIoU, DIoU, ...) in heads that regress deltas: only with ``reg_decoded_bbox=True`` do these
      heads give boxes to the loss.
    """
    known = {part.path: part for part in found}
    problems = []
    for part in found:
        head, inner = known.get(part.path.rpartition('.')[0]), known.get(f'{part.path}.loss')
        if part.key == 'loss_cls' and _is(part, 'OHEMLoss') and not part.cfg.get('use_sigmoid') and head and inner and (
                _is(head, 'BaseDenseHead') and _sigmoid(inner)):
            problems.append(f'{part.path}.use_sigmoid: {head.name} reads it here and would predict a score for the '
                            f'background; give use_sigmoid=True, as the {inner.name} inside has it')
        if part.key == 'loss_bbox' and head and _is_of_boxes(part) and _gives_deltas(head):
            problems.append(f'{head.path}.reg_decoded_bbox: {part.name} compares boxes, and {head.name} would give it '
                            'deltas; give reg_decoded_bbox=True')
    return problems


def _is_of_boxes(loss: Part) -> bool:
    return getattr(loss.found, '__module__', '') == 'mmdet.models.losses.iou_loss'


def _gives_deltas(head: Part) -> bool:
    """Whether a head compares deltas; dense heads with a loss of their own (ATSS, FCOS, ...) decode boxes before it."""
    if head.cfg.get('reg_decoded_bbox'):
        return False
    own = {getattr(getattr(head.found, name, None), '__qualname__', '').partition('.')[0]
           for name in ('loss_by_feat', 'loss_by_feat_single')}
    return _is(head, 'BBoxHead') or ('AnchorHead' in own and own <= {'AnchorHead', 'RPNHead'})


def _is(part: Part, name: str) -> bool:
    return any(base.__name__ == name for base in getattr(part.found, '__mro__', ()))


def _sigmoid(loss: Part) -> bool:
    default = takes(loss.found).defaults.get('use_sigmoid') if callable(loss.found) else None
    return loss.cfg.get('use_sigmoid', default) is True
