"""The open-vocabulary detector, Swin-T, on Flickr30k Entities or any set of images with sentences, for a GPU.
Run: python projects/open_vocabulary/tools/convert_flickr30k.py ENTITIES data/flickr30k --images IMAGES
     python tools/train.py projects/open_vocabulary/configs/open_vocabulary_swin_flickr30k.py --data-root data/flickr30k
"""
_base_ = ['./_base_/model.py', './_base_/grounding_data.py', './_base_/schedule_full.py', './_base_/runtime.py']
model = dict(prompt='a man . a woman')
