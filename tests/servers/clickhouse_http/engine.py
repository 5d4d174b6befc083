"""The engine: one per process and directory, and for every request a connection of its own. That takes 0.4 ms, isolates
settings as HTTP does, and connections run in parallel."""

import dataclasses
import os

import access
from chdb import _chdb
from errors import Error, from_engine
from insert import split_insert

# What the library sets unlike a server: a bare expression is a query to it.
AS_SERVER = {"implicit_select": "0"}


@dataclasses.dataclass
class Query:
    text: bytes
    database: str = ""
    format: str = "TabSeparated"
    settings: dict = dataclasses.field(default_factory=dict)
    parameters: dict = dataclasses.field(default_factory=dict)
    reads_only: bool = False  # may change settings: a GET
    user_reads_only: bool = False  # may change nothing


@dataclasses.dataclass
class Result:
    data: bytes = b""
    read: tuple = (0, 0)
    written: tuple = (0, 0)


class Engine:
    def __init__(self, directory, grants=None):
        self.directory = access.limited(directory, grants) if grants else str(directory)
        # The engine lives as long as one connection does.
        self.first = _chdb.connect(self.directory)
        self.version = self.ask("SELECT version()")
        self.timezone = self.ask("SELECT timezone()")

    def ask(self, text):
        return self.first.query(text, "TSVRaw").bytes().decode().strip()

    def execute(self, query):
        connection = _chdb.connect(self.directory)
        try:
            prepare(connection, query)
            if found := split_insert(query.text):
                return send(connection, found)
            return ask(connection, query)
        except RuntimeError as error:
            raise from_engine(error) from None
        finally:
            connection.close()


def prepare(connection, query):
    change(connection, AS_SERVER | {f"param_{name}": value for name, value in query.parameters.items()})
    if query.database:
        run(connection, f"USE {name(query.database)}")
    if query.user_reads_only:
        change(connection, {"readonly": "1"})
    change(connection, query.settings)
    if query.reads_only and not query.user_reads_only and query.settings.get("readonly", "0") == "0":
        change(connection, {"readonly": "2"})


def change(connection, settings):
    if settings:
        run(connection, "SET " + ", ".join(f"{name(key)} = {literal(value)}" for key, value in settings.items()))


def run(connection, text):
    connection.query(text.encode("utf-8", "surrogateescape"))


def name(text):
    return "`" + escaped(text).replace("`", "\\`") + "`"


def literal(text):
    return "'" + escaped(text).replace("'", "\\'") + "'"


def escaped(text):
    return text.replace("\\", "\\\\")


def ask(connection, query):
    count = connection.classify_query(query.text)["statement_count"]
    if count > 1:
        raise Error(62, "Syntax error (Multi-statements are not allowed)", "SYNTAX_ERROR")
    if not query.text.strip():
        raise Error(62, "Syntax error: failed at position 1 (end of query): Empty query", "SYNTAX_ERROR")
    result = connection.query(query.text, query.format)
    return Result(
        result.bytes(),
        (result.storage_rows_read(), result.storage_bytes_read()),
        (result.rows_written(), result.bytes_written()),
    )


def send(connection, insert):
    """INSERT with data, from a file in memory. The library's own way to send data skips constraints and the limit of
    partitions per block."""
    file = os.memfd_create("insert")
    try:
        with open(file, "wb", closefd=False) as writer:
            writer.write(insert.data)
        source = f" FROM INFILE '/proc/self/fd/{file}' COMPRESSION 'none' "
        text = insert.target + source.encode() + insert.settings + b" FORMAT " + insert.format
        result = connection.query(text)
        return Result(written=(result.rows_written(), result.bytes_written()))
    finally:
        os.close(file)
