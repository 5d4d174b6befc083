"""Errors as a ClickHouse server words them, and the HTTP status that each code has there; 500 for all others."""

import re

STATUS = {
    400: (6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117, 123, 167, 168, 223, 321, 376, 427, 441, 675, 676),
    401: (194,),
    403: (192, 193, 497, 512, 516),
    404: (46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511),
    408: (159,),
    411: (381,),
    413: (229,),
    415: (779,),
    501: (48,),
    503: (76, 209, 439),
}
STATUS_OF = {code: status for status, codes in STATUS.items() for code in codes}

# The library repeats the code of an error that passed through several hands, a server does not.
ENGINE_ERROR = re.compile(r"(?:Code: (\d+)\. DB::\w*Exception: )+(.*)", re.DOTALL)
VERSION = re.compile(r" \(version [\d.]+\)")
# Data of an INSERT come from a file here.
FILE = re.compile(r": \(in file/uri [^)]*\)")
FILE_PARSED = ": While executing File: data for INSERT was parsed from file"
REPEATED_NAME = re.compile(r"( \([A-Z_0-9]+\))(?:\.?\1)+$")


class Error(Exception):
    def __init__(self, code, text, name=None):
        self.code = code
        self.text = f"{text} ({name})" if name else text

    @property
    def status(self):
        return STATUS_OF.get(self.code, 500)


def from_engine(exception):
    found = ENGINE_ERROR.match(str(exception))
    if not found:
        return Error(1002, str(exception), "UNKNOWN_EXCEPTION")
    text = FILE.sub("", VERSION.sub("", found[2])).replace(FILE_PARSED, ": data for INSERT was parsed from query")
    return Error(int(found[1]), REPEATED_NAME.sub(r"\1", text))
