"""Names in figures of matplotlib."""
from cxrdet.core.terminal import visible


def plain(text: object) -> str:
    """The text on one line, control characters written out, and dollar signs drawn."""
    return visible(text, one_line=True).replace('$', r'\$')
