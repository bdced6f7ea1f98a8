"""CRC-32C, the checksum of TFRecord files."""
import google_crc32c

__all__ = ['crc32c', 'masked_crc32c']


def crc32c(data: bytes | memoryview) -> int:
    """CRC-32C (Castagnoli) of ``data``, as in RFC 3720, appendix B.4; ``crc32c(b'123456789') == 0xE3069283``."""
    return google_crc32c.value(bytes(data))


def masked_crc32c(data: bytes) -> int:
    """The checksum as TFRecord stores it: rotated right by 15 bits, plus a constant."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
