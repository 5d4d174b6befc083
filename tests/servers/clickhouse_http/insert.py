"""Finds where the data of an INSERT begin, the way ClickHouse's parser does."""

import re
import typing

TOKEN = re.compile(
    rb"""(?P<space> \s+ | --[^\n]* | \#[ !][^\n]* | /\*.*?\*/ )
       | (?P<quoted> '(?:[^'\\]|\\.|'')*' | `(?:[^`\\]|\\.|``)*` | "(?:[^"\\]|\\.|"")*" )
       | (?P<word> [A-Za-z_][A-Za-z0-9_]* )
       | (?P<other> . )""",
    re.DOTALL | re.VERBOSE,
)
# What follows a format's name: blanks, then at most one line end. Everything after that is data.
BEFORE_DATA = re.compile(rb"[ \t\f]*\r?\n?")


class Insert(typing.NamedTuple):
    target: bytes  # INSERT INTO ...
    settings: bytes
    format: bytes
    data: bytes


def split_insert(text):
    """The parts of an INSERT that brings data; None for any other query."""
    words = tokens(text)
    if next(words, (b"",))[0] != b"INSERT":
        return None
    settings = None
    for word, start, end in words:
        if word in (b"SELECT", b"WITH", b"WATCH", b"INFILE"):
            return None
        if word == b"SETTINGS" and settings is None:
            settings = start
        if word == b"VALUES":
            format, data = b"Values", end
        elif word == b"FORMAT":
            _, start_of_name, end_of_name = next(words, (b"", end, end))
            format, data = text[start_of_name:end_of_name], BEFORE_DATA.match(text, end_of_name).end()
        else:
            continue
        settings = start if settings is None else settings
        return Insert(text[:settings], text[settings:start], format, text[data:])
    return None


def tokens(text):
    """The words outside of parentheses, and one that opens a parenthesis, such as in `INSERT INTO t (SELECT 1)`."""
    depth = position = 0
    opened = False
    while match := TOKEN.match(text, position):
        position = match.end()
        if match["word"]:
            word = match["word"].upper()
            if not depth or opened and word in (b"SELECT", b"WITH"):
                yield word, match.start(), match.end()
        elif match["other"]:
            depth += {b"(": 1, b")": -1}.get(match["other"], 0)
        opened = match["other"] == b"(" or opened and bool(match["space"])
