"""The HTTP interface of a ClickHouse server in front of the engine as a library (chdb).

Whole bodies are read before a query starts, and whole results are kept before an answer starts, so a client that goes
away in the middle of an INSERT inserts nothing, and an answer of 200 is never followed by an error."""

import argparse
import base64
import http.server
import json
import re
import socket
import ssl
import sys
import urllib.parse
import uuid

import blocks
import content
from engine import Engine, Query
from errors import Error

# Parameters that are no settings. What this front has no use for (sessions, buffers) is accepted all the same.
TRANSPORT = {
    "query",
    "query_id",
    "database",
    "default_format",
    "user",
    "password",
    "quota_key",
    "role",
    "compress",
    "decompress",
    "session_id",
    "session_check",
    "session_timeout",
    "close_session",
    "stacktrace",
    "buffer_size",
    "wait_end_of_query",
    "client_protocol_version",
    "http_write_exception_in_output_format",
}
FORMAT = re.compile(rb"\bFORMAT\s+([A-Za-z]\w*)\s*(?:SETTINGS\b.*)?;?\s*$", re.IGNORECASE | re.DOTALL)
CONTENT_TYPES = {
    "JSON": "application/json",
    "TabSeparated": "text/tab-separated-values",
    "TSV": "text/tab-separated-values",
    "CSV": "text/csv",
    "Pretty": "text/plain",
    "Values": "text/plain",
}
READER = "reader"


class CutOff(Exception):
    """The client went away in the middle of its request."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "ClickHouse"
    disable_nagle_algorithm = True
    wbufsize = -1  # An answer leaves in one piece.

    def do_GET(self):
        path, _, text = self.path.partition("?")
        self.parameters = dict(urllib.parse.parse_qsl(text, keep_blank_values=True, errors="surrogateescape"))
        try:
            body = self.read_body()
        except (CutOff, ValueError):
            self.close_connection = True
            return
        if path in ("/ping", "/replicas_status"):
            self.answer(200, b"Ok.\n")
        elif path != "/":
            self.answer(404, f"There is no handle {path}\n\nUse / or /ping for health checks.\n".encode())
        elif self.command == "GET" and not self.parameters:
            self.answer(200, b"Ok.\n")
        else:
            self.answer_query(body)

    do_POST = do_GET

    def handle_expect_100(self):
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def read_body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.read(size))
                self.read(2)
            while self.rfile.readline().strip():
                pass
            return b"".join(parts)
        return self.read(int(self.headers.get("Content-Length", 0)))

    def read(self, size):
        data = self.rfile.read(size)
        if len(data) < size:
            raise CutOff
        return data

    def answer_query(self, body):
        engine = self.server.engine
        headers = {
            "X-ClickHouse-Query-Id": self.parameters.get("query_id") or str(uuid.uuid4()),
            "X-ClickHouse-Server-Display-Name": self.server.name,
            "X-ClickHouse-Timezone": engine.timezone,
        }
        known = False
        try:
            reader = self.user() == READER
            known = True
            query = self.query(self.unpacked(body), reader)
            result = engine.execute(query)
            status, data, format = 200, result.data, output_format(query)
            headers |= {"X-ClickHouse-Format": format, "X-ClickHouse-Summary": summary(result)}
            kind = next(
                (kind for start, kind in CONTENT_TYPES.items() if format.startswith(start)), "application/octet-stream"
            )
        except Error as error:
            status, kind = error.status, "text/plain; charset=UTF-8"
            text = f"Code: {error.code}. DB::Exception: {error.text} (version {engine.version} (official build))\n"
            data = text.encode("utf-8", "surrogateescape")
            headers["X-ClickHouse-Exception-Code"] = str(error.code)
            self.log_error("%d %s", status, text.rstrip())
        # A server compresses errors too, once it knows the user.
        if known and self.parameters.get("compress") == "1":
            data = blocks.compress(data)
        encoding = content.accepted(self.headers.get("Accept-Encoding", ""))
        if known and encoding and self.parameters.get("enable_http_compression") != "0":
            data, headers["Content-Encoding"] = content.ENCODERS[encoding](data), encoding
        self.answer(status, data, kind, headers)

    def user(self):
        name, password = self.credentials()
        if self.server.users.get(name) != password:
            text = "Authentication failed: password is incorrect, or there is no user with such name."
            raise Error(516, f"{name}: {text}", "AUTHENTICATION_FAILED")
        return name

    def credentials(self):
        given = self.headers.get("Authorization", "")
        if given.lower().startswith("basic "):
            try:
                name, _, password = base64.b64decode(given[6:]).decode().partition(":")
            except ValueError:
                raise Error(516, "Invalid basic authentication", "AUTHENTICATION_FAILED") from None
            return name, password
        if "X-ClickHouse-User" in self.headers:
            return self.headers["X-ClickHouse-User"], self.headers.get("X-ClickHouse-Key", "")
        return self.parameters.get("user", "default"), self.parameters.get("password", "")

    def unpacked(self, body):
        """The body without its compression. The fields of a form become parameters, as they are in ClickHouse."""
        body = content.decode(self.headers.get("Content-Encoding", ""), body)
        if self.parameters.get("decompress") == "1":
            body = blocks.decompress(body)
        kind = self.headers.get("Content-Type", "")
        if kind.startswith("multipart/form-data"):
            self.parameters |= content.form(kind, body)
            body = b""
        return body

    def query(self, body, reader):
        text = self.parameters.get("query", "").encode("utf-8", "surrogateescape")
        given = self.parameters.items()
        return Query(
            text=text + b"\n" + body if text and body else text or body,
            database=self.parameters.get("database") or self.headers.get("X-ClickHouse-Database", ""),
            format=self.parameters.get("default_format") or self.headers.get("X-ClickHouse-Format") or "TabSeparated",
            settings={name: value for name, value in given if name not in TRANSPORT and not name.startswith("param_")},
            parameters={name[6:]: value for name, value in given if name.startswith("param_")},
            reads_only=self.command == "GET",
            user_reads_only=reader,
        )

    def answer(self, status, data, kind="text/html; charset=UTF-8", headers=None):
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": len(data), **(headers or {})}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(data)

    def log_request(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, port, engine, users, certificate):
        super().__init__(("127.0.0.1", port), Handler)
        self.engine, self.users, self.name = engine, users, socket.gethostname()
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            # The handshake is left to the thread of the connection: here it would let one client hold up all others.
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):  # A client that goes away is no news.
            super().handle_error(request, client_address)


def output_format(query):
    found = FORMAT.search(query.text[-1000:])
    return found[1].decode() if found else query.format


def summary(result):
    names = ("read_rows", "read_bytes", "written_rows", "written_bytes")
    return json.dumps({name: str(value) for name, value in zip(names, result.read + result.written)})


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--user", default="default")
    parser.add_argument("--password", default="")
    parser.add_argument("--grants")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    args = parser.parse_args()
    users = {READER: READER, args.user: args.password}
    Server(args.port, Engine(args.data, args.grants), users, args.cert and (args.cert, args.key)).serve_forever()


main()
