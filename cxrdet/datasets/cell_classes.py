"""Names of the cervical classes, for readers with and without a framework."""

CDETECTOR_CLASSES = ('ascus', 'asch', 'lsil', 'hsil', 'scc', 'agc', 'trichomonas', 'candida', 'flora', 'herps',
                     'actinomyces')
"""The 11 cervical classes in the order and spelling of the Comparison detector's files ("herps" is theirs)."""
