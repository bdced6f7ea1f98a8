"""Perceptual hashes: what should be near is near, and the search finds what a double loop finds."""
import cv2
import numpy as np
import pytest

from cxrdet.curation.phash import hamming_pairs, near_equal_pairs, perceptual_hash, thumbnail


def scene(seed):
    """Soft blobs, 120 x 160 px."""
    rng = np.random.default_rng(seed)
    noise = cv2.resize(rng.random((7, 9)).astype(np.float32), (160, 120), interpolation=cv2.INTER_CUBIC)
    return (255 * np.clip(noise, 0, 1)).astype(np.uint8)


def bits(number):
    return bin(number).count('1')


def test_what_looks_the_same_is_near():
    image = scene(0)
    code = perceptual_hash(image)
    jpeg = cv2.imdecode(cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_GRAYSCALE)
    for other in (jpeg, cv2.resize(image, (91, 63), interpolation=cv2.INTER_AREA), (image * 0.7 + 20).astype(np.uint8),
                  cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)):
        assert bits(code ^ perceptual_hash(other)) <= 4
    assert perceptual_hash(thumbnail(image)) == code and 0 <= code < 2 ** 64
    others = [bits(code ^ perceptual_hash(scene(seed))) for seed in range(1, 40)]
    assert min(others) > 12 and 28 < np.mean(others) < 36
    assert bits(code ^ perceptual_hash(image[:, ::-1])) > 12


def test_hash_follows_the_definition():
    """The transform written as a sum, as in the definition of the DCT-II."""
    small = thumbnail(scene(3)).astype(np.float64)
    k, n = np.meshgrid(range(8), range(32), indexing='ij')
    basis = np.cos(np.pi * k * (2 * n + 1) / 64) * np.where(k == 0, np.sqrt(1 / 32), np.sqrt(2 / 32))
    low = (basis @ small @ basis.T).ravel()
    expected = int(''.join('1' if value > np.median(low[1:]) else '0' for value in low), 2)
    assert perceptual_hash(scene(3)) == expected


@pytest.mark.parametrize('distance', [0, 3, 8, 64])
def test_pairs_equal_a_double_loop(distance, monkeypatch):
    monkeypatch.setattr('cxrdet.curation.phash._BLOCK', 7)
    rng = np.random.default_rng(distance)
    hashes = [int(rng.integers(2 ** 63)) for _ in range(20)]
    hashes += [hashes[k] ^ (1 << int(rng.integers(64))) ^ (1 << int(rng.integers(64))) for k in range(8)] + hashes[:3]
    expected = {(i, j) for i in range(31) for j in range(i + 1, 31)
                if bits(hashes[i] ^ hashes[j]) <= distance}
    i, j = hamming_pairs(hashes, distance)
    assert set(zip(i.tolist(), j.tolist())) == expected and len(i) == len(expected)


def test_counting_without_numpy_2(monkeypatch):
    hashes = [0, 1, 2 ** 64 - 1, 3]
    expected = [part.tolist() for part in hamming_pairs(hashes, 2)]
    monkeypatch.delattr(np, 'bitwise_count', raising=False)
    assert [part.tolist() for part in hamming_pairs(hashes, 2)] == expected == [[0, 0, 1], [1, 3, 3]]


def test_second_look():
    images = [scene(0), scene(1), cv2.GaussianBlur(scene(0), (3, 3), 0), np.full((50, 50), 7, np.uint8),
              np.full((20, 30), 9, np.uint8)]
    small = np.array([thumbnail(image) for image in images])
    codes = [perceptual_hash(image) for image in images]
    assert near_equal_pairs(codes, small) == [(0, 2), (3, 4)]
    assert near_equal_pairs([0] * 5, small) == [(0, 2), (3, 4)]  # equal hashes by chance do not make them equal
    assert near_equal_pairs([], np.zeros((0, 32, 32))) == []


def test_ten_thousand_need_few_calls(calls):
    """Pairs are not looked at one by one: there are fifty million."""
    hashes = np.random.default_rng(0).integers(0, 2 ** 63, 10_000, dtype=np.uint64)
    assert calls(hamming_pairs, hashes, 8) < 50_000
