import math
from collections.abc import Sequence

import numpy as np

_READABLE = 99  # classes whose cells hold their counts
_LARGE = 60  # cells as wide as the picture of more classes


def draw_confusion(matrix, classes: Sequence[str], *, title: str = '') -> np.ndarray:
    """Draw a confusion matrix (C, C): true classes in the rows, predicted ones in the columns, (H, W, 3) uint8 RGB.

    Every cell holds its count (nothing where it is 0); its colour is its share of
    the row, so that the diagonal shows the recall of each class whatever its size.
    One hue from light to dark, which colour-blind people and grey prints tell
    apart. Rows carry the number of images; a class without any is hatched. Names
    longer than 24 characters are cut. From 100 classes on the picture grows no
    further: its cells are coloured only, and about 60 names stand beside it.

    Args:
        matrix: (C, C) counts.
        classes: C names.
        title: a line above it.

    Raises: ValueError if the names do not fit the matrix, or there is no class.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from cxrdet.visualization.plots import plain
    matrix = np.asarray(matrix)
    count = len(classes)
    if matrix.shape != (count, count) or not count:
        raise ValueError(f'expected a ({count}, {count}) matrix for {count} class names, got shape {matrix.shape}')
    support = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, support, out=np.zeros(matrix.shape), where=support > 0)
    readable = count <= _READABLE  # beyond, memory grows with the square: 1,000 cells of 42 px are 7 GB
    side = max(0.42 * min(count, _LARGE), 2.4)
    figure = Figure(figsize=(side + 2.6, side + 1.9), dpi=100, layout='constrained')
    canvas, axes = FigureCanvasAgg(figure), figure.add_subplot()
    image = axes.imshow(shares, cmap='Blues', vmin=0, vmax=1)
    for row, column in zip(*np.nonzero(matrix) if readable else ((), ())):
        number = int(matrix[row, column])
        axes.text(column, row, f'{number}', ha='center', va='center', fontsize=10 - min(len(str(number)), 6),
                  color='white' if shares[row, column] > 0.55 else '#222222')
    for row in np.flatnonzero(support == 0) if readable else ():
        axes.axhspan(row - 0.5, row + 0.5, facecolor='none', edgecolor='#999999', hatch='///', linewidth=0)
    names = [plain(name if len(name) <= 24 else f'{name[:23]}…') for name in map(str, classes)]
    named = range(0, count, 1 if readable else math.ceil(count / _LARGE))
    axes.set_xticks(named, names[::named.step], rotation=90, fontsize=9)
    axes.set_yticks(named, [f'{names[i]} ({support[i, 0]})' for i in named], fontsize=9)
    if readable:
        axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
        axes.grid(which='minor', color='#dddddd', linewidth=0.5)
    axes.tick_params(which='both', length=0)
    axes.set(xlabel='predicted', ylabel='true (images)')
    axes.set_title(plain(title), fontsize=10)
    figure.colorbar(image, ax=axes, shrink=0.6, label='share of the true class')
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
