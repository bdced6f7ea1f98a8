"""Cells of other images pasted into every second image. Detectors."""
copy_paste = dict(needs_step='PackDetInputs', mix=[dict(type='cxrdet.BoxCopyPaste', prob=0.5, max_objects=3)])
