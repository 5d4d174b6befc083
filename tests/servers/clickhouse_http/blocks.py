"""ClickHouse's compressed blocks: a checksum of 16 bytes, the method, the size with this header, the size of the data
once unpacked, the packed data."""

import struct

import lz4.block
from clickhouse_cityhash.cityhash import CityHash128

from errors import Error

HEADER = struct.Struct("<BII")
LZ4, NONE = 0x82, 0x02
BLOCK = 1 << 20
LIMIT = 1 << 30


def compress(data):
    return b"".join(block(data[start : start + BLOCK]) for start in range(0, len(data), BLOCK))


def block(data):
    packed = lz4.block.compress(data, store_size=False)
    body = HEADER.pack(LZ4, len(packed) + HEADER.size, len(data)) + packed
    return checksum(body) + body


def decompress(data):
    parts, position = [], 0
    while position < len(data):
        if len(data) < position + 16 + HEADER.size:
            raise Error(
                32, "Attempt to read after eof: a compressed block's header is cut off", "ATTEMPT_TO_READ_AFTER_EOF"
            )
        method, size, unpacked = HEADER.unpack_from(data, position + 16)
        end = position + 16 + size
        if unpacked > LIMIT or size > LIMIT or size < HEADER.size:
            raise Error(39, f"Too large compressed block of {size} bytes: corrupted data", "TOO_LARGE_SIZE_COMPRESSED")
        if end > len(data):
            raise Error(
                33,
                f"Cannot read all data. Bytes read: {len(data) - position - 16}. Bytes expected: {size}.",
                "CANNOT_READ_ALL_DATA",
            )
        body = bytes(data[position + 16 : end])
        if checksum(body) != data[position : position + 16]:
            raise Error(40, "Checksum doesn't match: corrupted data", "CHECKSUM_DOESNT_MATCH")
        parts.append(unpack(method, body[HEADER.size :], unpacked))
        position = end
    return b"".join(parts)


def unpack(method, packed, size):
    if method == NONE:
        return packed
    if method != LZ4:
        raise Error(
            89,
            f"Unknown compression method: {method:#04x}, only LZ4 and NONE are known here",
            "UNKNOWN_COMPRESSION_METHOD",
        )
    try:
        return lz4.block.decompress(packed, uncompressed_size=size)
    except lz4.block.LZ4BlockError:
        raise Error(271, "Cannot decompress LZ4-encoded data", "CANNOT_DECOMPRESS") from None


def checksum(body):
    # The upper half first, each half with its lowest byte first.
    return struct.pack("<QQ", *divmod(CityHash128(body), 1 << 64))
