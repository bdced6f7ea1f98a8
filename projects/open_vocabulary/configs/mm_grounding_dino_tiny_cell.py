"""MM-Grounding-DINO, Swin-T, fine-tuned on a COCO-format cell set: a large detector to start from, for a GPU.
Run: python tools/train.py projects/open_vocabulary/configs/mm_grounding_dino_tiny_cell.py --data-root data/cell
Needs `pip install "cxrdet[text]"`, and two things that are downloaded beforehand: weights of MMDetection's
mm_grounding_dino/metafile.yml (load_from) and the folder of bert-base-uncased (model.language_model.name).
"""
_base_ = './_base_/mm_grounding_dino.py'
