"""A certificate authority for the tests and one certificate for 127.0.0.1 and localhost, in the shapes servers want."""

import shutil
import subprocess

from lib.base import Failed
from lib.install import make_once

NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
CERTIFIES = (
    "basicConstraints=critical,CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n"
    "extendedKeyUsage=serverAuth,clientAuth\n"
)


def certificates():
    return make_once("tls", make)


def make(into):
    if not shutil.which("openssl"):
        raise Failed("`openssl` is needed to make test certificates; install openssl")

    def openssl(*words):
        result = subprocess.run(["openssl", *words], cwd=into, capture_output=True, text=True)
        if result.returncode:
            raise Failed(f"`openssl {' '.join(words)}` failed: {result.stderr.strip()}")

    openssl(
        "req",
        "-x509",
        *NEW_KEY,
        "-days",
        "3650",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        "-subj",
        "/CN=test-ca",
        "-addext",
        "keyUsage=keyCertSign",
    )
    openssl("req", *NEW_KEY, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
    (into / "server.ext").write_text(CERTIFIES)
    openssl(
        "x509",
        "-req",
        "-in",
        "server.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        "3650",
        "-out",
        "server.pem",
        "-extfile",
        "server.ext",
    )

    minio = into / "minio"
    (minio / "CAs").mkdir(parents=True)
    shutil.copy(into / "server.pem", minio / "public.crt")
    shutil.copy(into / "server.key", minio / "private.key")
    shutil.copy(into / "ca.pem", minio / "CAs" / "ca.pem")
