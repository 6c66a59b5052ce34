"""What is asked, of which servers, what they must answer, and what micro-smol is to reach."""

import json
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent

# Servers and their features in Cargo.toml; then those that are not Rust.
RUST = {
    "hyper": "hyper", "micro-smol": "micro-smol", "limit": "limit", "may_minihttp": "may", "ntex": "ntex",
    "actix-web": "actix", "axum": "axum", "trillium-smol": "trillium", "tide": "tide",
}  # fmt: skip
OTHERS = ["Go net/http", "Node http", "micro (npm)"]
ALL, PAIR = [*RUST, *OTHERS], ["hyper", "micro-smol"]
FOUR = [*PAIR, "axum", "actix-web"]
GET = [*PAIR, "limit", "may_minihttp", "ntex", "actix-web", "axum"]


class Answer(NamedTuple):
    content: bytes
    media_type: str = "text/plain"
    status: bytes = b"200"
    fields: dict = {}  # beside Content-Type, Date and what frames the content


class Request(NamedTuple):
    answer: Answer
    path: str = "/"
    content: bytes | None = None
    fields: dict = {}

    def __bytes__(self):
        fields, content = {"Host": "localhost"} | self.fields, self.content or b""
        if "Transfer-Encoding" in fields:
            content = b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content)
        elif content:
            fields["Content-Length"] = str(len(content))
        method = "GET" if self.content is None else "POST"
        lines = [f"{method} {self.path} HTTP/1.1", *map(": ".join, fields.items()), "\r\n"]
        return "\r\n".join(lines).encode() + content


class Scenario(NamedTuple):
    name: str
    requests: list  # sent in turn
    goals: dict = {}  # of micro-smol: at most so much of that server's figure, or so many MiB
    servers: list = FOUR
    connections: int = 64
    cores: str = "one"  # "one": server and load share a core; "each": each has one; "two": they share two
    pipelined: int = 1
    unit: str = "µs"
    figure: str = "load"  # how it is measured, in `run`


HELLO = Answer(b"Hello, world")
JSON = "application/json"
BYTES = "application/octet-stream"


def echo(size):
    return [Request(Answer(b"x" * size, BYTES), "/echo", b"x" * size)]


def browser():
    fields = (line.split(": ", 1) for line in (HERE / "src/browser.txt").read_text().splitlines())
    return [Request(HELLO, fields=dict(fields))]


def answers_fields():
    fields = {
        "Cache-Control": "no-cache",
        "ETag": '"7f3a"',
        "Vary": "accept-encoding",
        "X-Content-Type-Options": "nosniff",
        "X-Request-Id": "6f1d2c3b4a59687f",
    }
    return [Request(HELLO._replace(fields=fields), "/fields")]


def order():
    receipt = b'{"item":"tea","user":"ann","currency":"EUR","total":47}'
    answer = Answer(receipt, JSON, b"201", {"Location": "/orders/ann/tea"})
    content, fields = b'{"item":"tea","price":6,"count":7}', {"Content-Type": JSON, "X-User": "ann"}
    return [Request(answer, "/order?currency=EUR&express=true", content, fields)]


def mix():
    text, path = {"Content-Type": "text/plain"}, "/sum?a=13&b=42"
    return [
        Request(Answer(b"55"), path),
        Request(Answer(b"75"), path, b"20", text),
        Request(Answer(b"75"), path, b"20", text | {"Transfer-Encoding": "chunked"}),
    ]


def catalog():
    items = json.loads((HERE / "src/catalog.json").read_text())
    for count, multiplier in (1, 3), (5, 7), (10, 2), (15, 5), (25, 4), (40, 8), (50, 6):
        offers = [item | {"total": item["price"] * item["quantity"] * multiplier} for item in items[:count]]
        content = json.dumps({"items": offers, "count": count}, separators=(",", ":")).encode()
        yield Request(Answer(content, JSON), f"/catalog/{count}?m={multiplier}")


def uploads():
    return [
        Request(Answer(b"%d" % size), "/upload", bytes(size)) for size in (500_000, 2_000_000, 10_000_000, 20_000_000)
    ]


PLAIN = [Request(HELLO)]
TIMER = [Request(Answer(b"Ready!"), "/sleep")]
STREAM = [Request(Answer(b"x" * (1 << 20), BYTES, fields={"Transfer-Encoding": "chunked"}), "/stream")]
CLOSING = [Request(HELLO._replace(fields={"Connection": "close"}), fields={"Connection": "close"})]
SMALL_JSON = [Request(Answer(b'{"hello":"world"}', JSON), "/json")]


def keep_alive(connections):
    name = f"GET, {connections} connections, a core each"
    return Scenario(name, PLAIN, {"hyper": 0.95}, GET, connections, cores="each")


def two_workers(connections):
    name = f"GET, {connections} connections, two workers on two cores"
    return Scenario(name, PLAIN, {"hyper": 1.0}, PAIR, connections, cores="two")


# The README shows these.
SHORT = [
    Scenario("GET", PLAIN, {"hyper": 0.95, "may_minihttp": 1.0, "ntex": 1.0}, ALL),
    Scenario("GET with a browser’s 17 fields", browser(), {"hyper": 0.87}),
    Scenario("POST /order: query, field and JSON", order(), {"axum": 0.7}),
    Scenario("mix of GET, POST and chunked POST, 256 connections", mix(), {"axum": 0.75}, connections=256),
    Scenario("JSON of 1 to 50 items", list(catalog()), {"axum": 0.87}),
    Scenario("uploads of 0.5 to 20 MB, 16 connections", uploads(), {"axum": 0.92}, connections=16, figure="uploads"),
]
SCENARIOS = [
    *SHORT,
    Scenario("five fields on the answer", answers_fields(), {"axum": 0.91}),
    keep_alive(16),
    keep_alive(256),
    keep_alive(1000),
    Scenario("GET, 1 connection", PLAIN, {"hyper": 1.0}, GET, connections=1),
    Scenario("16 pipelined", PLAIN, {"hyper": 0.85}, [*FOUR, "limit", "may_minihttp"], pipelined=16),
    Scenario("JSON response", SMALL_JSON, {"hyper": 0.95}),
    Scenario("1 KiB echo", echo(1 << 10), {"hyper": 1.0}),
    Scenario("1 MiB echo, 8 connections", echo(1 << 20), {"hyper": 1.0}, connections=8),
    Scenario("1 MiB stream, 16 connections", STREAM, {"hyper": 1.05}, connections=16),
    Scenario("connection per request", CLOSING, {"hyper": 0.95}, PAIR),
    Scenario("10 ms timer, 256 connections, a core each", TIMER, {"hyper": 1.0}, PAIR, 256, cores="each"),
    two_workers(64),
    two_workers(256),
    Scenario("memory per idle connection", PLAIN, {"hyper": 0.25}, ALL, 2000, unit="KiB", figure="idle"),
    Scenario("memory with 10,000 idle connections", PLAIN, {}, FOUR, 10_000, unit="MiB", figure="resident"),
    Scenario("memory under POST /order, 1,000 connections", order(), {}, FOUR, 1000, unit="MiB", figure="working"),
    Scenario("first answer after exec", PLAIN, {"hyper": 1.5}, ALL, 1, unit="ms", figure="start"),
    Scenario("hello, stripped", [], {"MiB": 1.0}, PAIR, unit="MiB", figure="size"),
    Scenario("hello, stripped, crt-static", [], {"MiB": 2.0}, PAIR, unit="MiB", figure="size"),
]
