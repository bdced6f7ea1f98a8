"""BCCD with a phrase a class in training: its name or, each as likely, one of its synonyms, in an order of chance."""
_base_ = '../../../../configs/_base_/datasets/bccd_voc.py'
prompts = dict(
    type='cxrdet.ClassPrompts', classes='RBC . WBC . Platelets', shuffle=True,
    synonyms='projects/open_vocabulary/configs/blood_cells.txt')
meta_keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'phrases')
pack = dict(type='PackDetInputs', meta_keys=meta_keys)
train_dataloader = dict(
    batch_size=4, worker_init_fn=dict(type='cxrdet.worker_init_fn'),
    dataset=dict(pipeline=[*_base_.load_pipeline, {{_base_.flip}}, prompts, pack]))
