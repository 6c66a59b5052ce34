"""aiohttp: a pool of connections."""

import asyncio
import gzip
import sys

import aiohttp

SIZES = (0, 1, 65536, 10000000)


def pattern(length):
    return (bytes(range(251)) * (length // 251 + 1))[:length]


async def pieces():
    for start in range(0, 1000000, 9999):
        yield pattern(1000000)[start : start + 9999]


class Client:
    def __init__(self, session):
        self.session = session

    async def ask(self, method, path, **options):
        async with self.session.request(method, path, **options) as response:
            return response, await response.read()

    async def get(self):
        return (await self.ask("GET", "/"))[1] == b"Hello, world"

    async def head(self):
        response, content = await self.ask("HEAD", "/")
        return response.headers["content-length"] == "12" and content == b""

    async def echo(self):
        answers = await asyncio.gather(*(self.ask("POST", "/echo", data=pattern(size)) for size in SIZES))
        return [content for _, content in answers] == [pattern(size) for size in SIZES]

    async def upload(self):
        return (await self.ask("POST", "/check", data=pieces()))[1] == b"1000000"

    async def download(self):
        return (await self.ask("GET", "/chunks/10000000"))[1] == pattern(10000000)

    async def reuse(self):
        peers = {(await self.ask("GET", "/peer"))[1] for _ in range(20)}
        return len(peers) <= len(SIZES)

    async def expect(self):
        return (await self.ask("POST", "/check", data=pattern(100000), expect100=True))[1] == b"100000"

    async def gzip(self):
        headers = {"content-encoding": "gzip"}
        response, content = await self.ask("POST", "/echo", data=gzip.compress(b"untouched"), headers=headers)
        return response.headers["content-encoding"] == "gzip" and gzip.decompress(content) == b"untouched"


async def main():
    async with aiohttp.ClientSession(sys.argv[1], auto_decompress=False) as session:
        client = Client(session)
        for name in ("get", "head", "echo", "upload", "download", "reuse", "expect", "gzip"):
            print(name, "ok" if await getattr(client, name)() else "FAILED", flush=True)
    print("done ok")


asyncio.run(main())
