"""Training images of six sizes, 0.75 to 1 of the recipe's (480 to 640 px of 640). Detectors."""
multi_scale = dict(needs_step='PackDetInputs', steps=[dict(instead_of='size', put=[dict(
    type='RandomChoiceResize', keep_ratio=True,
    scales=['{scale*0.75}', '{scale*0.8}', '{scale*0.85}', '{scale*0.9}', '{scale*0.95}', '{scale}'])])])
