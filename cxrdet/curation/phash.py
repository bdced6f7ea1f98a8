"""Perceptual hashes: images that look the same have hashes that differ in few bits.

Source: the DCT hash of C. Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010 (pHash):
32 x 32 grey values, the lowest 8 x 8 frequencies of their cosine transform, each above or below the median. Two images
of one kind (two chest films) can have like hashes by chance, so pairs are held to a second look at small copies.
"""
import cv2
import numpy as np

MAX_DISTANCE = 8  # bits in which hashes of images that look the same may differ
MAX_DIFFERENCE = 0.15  # root mean square, of their thumbnails at mean 0 and deviation 1: a correlation of 0.989 or more
_BLOCK = 2048  # rows compared at a time: 2048 x N distances bound the memory


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Grey copy of 32 x 32 px, (32, 32) float32, of an image (H, W) or (H, W, 3) uint8, channels blue, green, red."""
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)


def perceptual_hash(image: np.ndarray) -> int:
    """64-bit hash of an image (H, W) or (H, W, 3) uint8; a :func:`thumbnail` (32, 32) float32 is taken as it is."""
    small = image if image.dtype == np.float32 else thumbnail(image)
    low = cv2.dct(small)[:8, :8].ravel()
    bits = low > np.median(low[1:])  # without the mean brightness
    return int.from_bytes(np.packbits(bits).tobytes(), 'big')


def hamming_pairs(hashes, max_distance: int = MAX_DISTANCE) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of N hashes that differ in at most ``max_distance`` bits: rows i < j, (K,) each.

    Every hash is compared with every other, in blocks by NumPy's bit count: the 50 million pairs of
    10,000 hashes take a second or two.

    Args:
        hashes: (N,) whole numbers of 64 bits.
        max_distance: 0 to 64.
    """
    hashes = np.asarray(hashes, np.uint64).reshape(-1)
    found = [(np.zeros(0, np.int64), ) * 2]
    for start in range(0, len(hashes), _BLOCK):
        block = hashes[start:start + _BLOCK, None] ^ hashes[None, start:]
        i, j = np.nonzero(_bit_count(block) <= max_distance)
        found.append((i[j > i] + start, j[j > i] + start))
    return tuple(np.concatenate(parts) for parts in zip(*found))


def _bit_count(values: np.ndarray) -> np.ndarray:
    if hasattr(np, 'bitwise_count'):  # NumPy 2
        return np.bitwise_count(values)
    return np.unpackbits(values[..., None].view(np.uint8), axis=-1).sum(axis=-1, dtype=np.uint8)


def near_equal_pairs(hashes, thumbnails) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of images that show the same, up to size, compression and brightness.

    An image of one grey value equals another.

    Args:
        hashes: (N,) of :func:`perceptual_hash`.
        thumbnails: (N, 32, 32) of :func:`thumbnail`.
    """
    flat = np.asarray(thumbnails, np.float32).reshape(len(hashes), 1024)
    flat = flat - flat.mean(axis=1, keepdims=True)
    spread = flat.std(axis=1, keepdims=True)
    flat = flat / np.where(spread > 0.5, spread, np.inf)
    i, j = hamming_pairs(hashes)
    difference = np.zeros(len(i))
    for k in range(0, len(i), _BLOCK):
        block = np.s_[k:k + _BLOCK]
        difference[block] = np.sqrt(((flat[i[block]] - flat[j[block]]) ** 2).mean(axis=1))
    near = difference <= MAX_DIFFERENCE
    return list(zip(i[near].tolist(), j[near].tolist()))
