"""The schedule of the detection recipes: one of adamw_1e-3_cosine_100e.py and adamw_1e-4_cosine_100e.py.

Which one was decided by the table of schedules in docs/model_zoo.md, from random weights.
"""
_base_ = './adamw_1e-3_cosine_100e.py'
