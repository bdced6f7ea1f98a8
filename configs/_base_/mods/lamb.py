"""LAMB, rate 1e-3, weight decay 0.01, for large batches. Any recipe."""
lamb = dict(optim_wrapper=dict(optimizer=dict(_delete_=True, type='mmpretrain.Lamb', lr=1e-3, weight_decay=0.01)))
