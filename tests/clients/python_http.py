"""http.client of Python's standard library: one connection, kept."""

import gzip
import http.client
import sys

connection = http.client.HTTPConnection(sys.argv[1].removeprefix("http://"), timeout=30)


def ask(method, path, body=None, headers={}, **options):
    connection.request(method, path, body, headers, **options)
    response = connection.getresponse()
    return response, response.read()


def pattern(length):
    return (bytes(range(251)) * (length // 251 + 1))[:length]


def chunked():
    pieces = [pattern(1000000)[start : start + 9999] for start in range(0, 1000000, 9999)]
    return ask("POST", "/check", iter(pieces), encode_chunked=True)[1] == b"1000000"


def passes_gzip():
    response, content = ask("POST", "/echo", gzip.compress(b"untouched"), {"content-encoding": "gzip"})
    return response.getheader("content-encoding") == "gzip" and gzip.decompress(content) == b"untouched"


def head():
    response, content = ask("HEAD", "/")
    return response.getheader("content-length") == "12" and content == b""


CHECKS = {
    "get": lambda: ask("GET", "/")[1] == b"Hello, world",
    "head": head,
    "304": lambda: ask("GET", "/", headers={"if-none-match": '"1"'})[0].status == 304,
    "echo": lambda: all(ask("POST", "/echo", pattern(n))[1] == pattern(n) for n in (0, 1, 65536, 10000000)),
    "upload": chunked,
    "download": lambda: ask("GET", "/chunks/10000000")[1] == pattern(10000000),
    "reuse": lambda: ask("GET", "/peer")[1] == ask("GET", "/peer")[1] != b"None",
    "gzip": passes_gzip,
}

for name, check in CHECKS.items():
    print(name, "ok" if check() else "FAILED", flush=True)
print("done ok")
