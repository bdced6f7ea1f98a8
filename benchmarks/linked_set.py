"""Made-up COCO sets of any number of images, all of them links of one file of 64 px."""
import os
from pathlib import Path

import numpy as np

LINKS = 30_000  # of one file; ext4 allows 65,000


def link_images(folder: Path, names: list[str], *, shape: tuple[int, ...] = (64, 64, 3)) -> None:
    """One image of noise under many names."""
    import cv2
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    for number, name in enumerate(names):
        if number % LINKS == 0:
            source = folder / name
            cv2.imwrite(str(source), pixels)
        else:
            os.link(source, folder / name)


def coco_content(names: list[str], boxes: int, categories: list[dict]) -> dict:
    """A COCO file's content: ``boxes`` boxes together in the images, in all classes by turns."""
    rng, images = np.random.default_rng(0), len(names)
    corner, side = rng.uniform(0, 30, (boxes, 2)).round(2), rng.uniform(4, 30, (boxes, 2)).round(2)
    return {
        'images': [{'id': i, 'file_name': name, 'width': 64, 'height': 64} for i, name in enumerate(names)],
        'annotations': [
            {'id': i + 1, 'image_id': i * images // boxes, 'category_id': categories[i % len(categories)]['id'],
             'bbox': [*where, *size], 'area': size[0] * size[1], 'iscrowd': 0, 'segmentation': []}
            for i, (where, size) in enumerate(zip(corner.tolist(), side.tolist()))],
        'categories': categories}
