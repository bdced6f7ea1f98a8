from cxrdet.models.heads.dropout_linear_cls_head import DropoutLinearClsHead
from cxrdet.models.heads.multi_label_head import MultiLabelHead
from cxrdet.models.heads.regularized_bbox_head import RegularizedBBoxHead

__all__ = ['DropoutLinearClsHead', 'MultiLabelHead', 'RegularizedBBoxHead']
