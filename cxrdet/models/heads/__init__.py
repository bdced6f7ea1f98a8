from cxrdet.models.heads.dropout_linear_cls_head import DropoutLinearClsHead
from cxrdet.models.heads.multi_label_head import MultiLabelHead

__all__ = ['DropoutLinearClsHead', 'MultiLabelHead']
