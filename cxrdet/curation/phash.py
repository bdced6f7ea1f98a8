"""Perceptual hashes: images that look the same have hashes that differ in few bits.

Source: the DCT hash of C. Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010 (pHash):
32 x 32 grey values, the lowest 8 x 8 frequencies of their cosine transform, each above or below the median. Two images
of one kind (two chest films) can have like hashes by chance, so pairs are held to a second look at small copies.
"""
import cv2
import numpy as np

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


def hamming_pairs(hashes, max_distance: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs of N hashes that differ in at most ``max_distance`` bits: rows i < j, (K,) each, and distances (K,).

    Every hash is compared with every other, in blocks by NumPy's bit count: the 50 million pairs of
    10,000 hashes take a second or two.

    Args:
        hashes: (N,) whole numbers of 64 bits.
        max_distance: 0 to 64.
    """
    if not 0 <= max_distance <= 64:
        raise ValueError(f'max_distance must lie in 0..64, got {max_distance}')
    hashes = np.asarray(hashes, np.uint64).reshape(-1)
    found = [(np.zeros(0, np.int64), ) * 3]
    for start in range(0, len(hashes), _BLOCK):
        block = hashes[start:start + _BLOCK, None] ^ hashes[None, start:]
        distance = _bit_count(block)
        i, j = np.nonzero(distance <= max_distance)
        later = j > i
        i, j = i[later], j[later]
        found.append((i + start, j + start, distance[i, j].astype(np.int64)))
    return tuple(np.concatenate(parts) for parts in zip(*found))


def _bit_count(values: np.ndarray) -> np.ndarray:
    if hasattr(np, 'bitwise_count'):  # NumPy 2
        return np.bitwise_count(values)
    return np.unpackbits(values[..., None].view(np.uint8), axis=-1).sum(axis=-1, dtype=np.uint8)


def near_equal_pairs(hashes, thumbnails, *, max_distance: int = 8,
                     max_difference: float = 0.15) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of images that show the same, up to size, compression and brightness.

    Args:
        hashes: (N,) of :func:`perceptual_hash`.
        thumbnails: (N, 32, 32) of :func:`thumbnail`.
        max_distance: Bits in which the hashes may differ.
        max_difference: Root mean square difference that is allowed between thumbnails brought to mean 0 and deviation
            1; sqrt(2 - 2 r) for the correlation r, so 0.15 asks for r >= 0.989. An image of one grey value equals
            another.
    """
    flat = np.asarray(thumbnails, np.float32).reshape(len(hashes), 1024)
    flat = flat - flat.mean(axis=1, keepdims=True)
    spread = flat.std(axis=1, keepdims=True)
    flat = flat / np.where(spread > 0.5, spread, np.inf)
    i, j, _ = hamming_pairs(hashes, max_distance)
    difference = np.zeros(len(i))
    for k in range(0, len(i), _BLOCK):
        block = np.s_[k:k + _BLOCK]
        difference[block] = np.sqrt(((flat[i[block]] - flat[j[block]]) ** 2).mean(axis=1))
    return [(int(a), int(b)) for a, b in zip(i[difference <= max_difference], j[difference <= max_difference])]
