"""Where the config of a model counts the classes of the data set, and where something else."""

#: Keys that hold the number of classes of the data set.
COUNT_KEYS = ('num_classes', 'num_things_classes')

#: Subtrees of a model whose ``num_classes`` counts something else: a proposal network has one class, a backbone may
#: carry an unused classifier, a semantic head numbers the stuff of segmentation maps, a re-identification net persons.
#: The members of an ensemble were trained each with its own classes.
OTHER_COUNTS = frozenset((
    'backbone', 'rfp_backbone', 'teacher_backbone', 'shared_head', 'neck', 'rpn_head', 'semantic_head', 'reid',
    'language_model', 'text_encoder', 'target_generator', 'init_cfg', 'train_cfg', 'test_cfg', 'members'))
