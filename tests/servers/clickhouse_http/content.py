"""How bodies travel over HTTP: content encodings, and forms."""

import gzip
import re
import zlib

import lz4.frame
from errors import Error

# In the order in which the server prefers them; it also knows br, xz, zstd, snappy and bz2.
ENCODERS = {
    "gzip": lambda data: gzip.compress(data, 1),
    "deflate": zlib.compress,
    "lz4": lambda data: lz4.frame.compress(data, store_size=False),
}
DECODERS = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "lz4": lz4.frame.decompress,
    "identity": bytes,
    "": bytes,
}

BOUNDARY = re.compile(r'boundary="?([^";]+)')
NAME = re.compile(rb'name="([^"]*)"')


def accepted(header):
    """The encoding to answer with, or an empty string."""
    wanted = [part.split(";")[0].strip() for part in header.lower().split(",")]
    return next((name for name in ENCODERS if name in wanted), "")


def decode(encoding, body):
    if encoding not in DECODERS:
        raise Error(
            48, f"Unknown compression method: {encoding}, only gzip, deflate and lz4 are known here", "NOT_IMPLEMENTED"
        )
    try:
        return DECODERS[encoding](body)
    except (OSError, EOFError, RuntimeError, zlib.error) as error:
        raise Error(
            354, f"Cannot decode a body of Content-Encoding {encoding}: {error}", "ZLIB_INFLATE_FAILED"
        ) from None


def form(content_type, body):
    """The fields of a multipart form, as text."""
    boundary = BOUNDARY.search(content_type)
    if not boundary:
        raise Error(36, "A multipart form without a boundary", "BAD_ARGUMENTS")
    fields = {}
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary[1].encode())[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        name = NAME.search(head)
        if not name or b"filename=" in head:
            raise Error(48, "Tables in a multipart form are not implemented here", "NOT_IMPLEMENTED")
        fields[name[1].decode()] = value.decode("utf-8", "surrogateescape")
    return fields
