// Node's fetch, which is undici.
import { gzipSync } from "node:zlib";

const [url] = process.argv.slice(2);
const pattern = (length) => Buffer.from(Uint8Array.from({ length }, (_, index) => index % 251));
const ask = async (path, options) => {
  const response = await fetch(url + path, options);
  return [Buffer.from(await response.arrayBuffer()), response];
};
const post = async (path, body, options) => (await ask(path, { method: "POST", body, ...options }))[0];
const pieces = async function* () {
  for (let start = 0; start < 1000000; start += 9999) yield pattern(1000000).subarray(start, start + 9999);
};

const checks = {
  get: async () => (await ask("/"))[0].equals(Buffer.from("Hello, world")),
  head: async () => {
    const [content, response] = await ask("/", { method: "HEAD" });
    return response.headers.get("content-length") === "12" && content.length === 0;
  },
  304: async () => (await ask("/", { headers: { "if-none-match": '"1"' } }))[1].status === 304,
  echo: async () => {
    for (const length of [0, 1, 65536, 10000000]) {
      if (!(await post("/echo", pattern(length))).equals(pattern(length))) return false;
    }
    return true;
  },
  upload: async () => String(await post("/check", ReadableStream.from(pieces()), { duplex: "half" })) === "1000000",
  download: async () => (await ask("/chunks/10000000"))[0].equals(pattern(10000000)),
  // It has a pool, so it is not the same connection each time.
  reuse: async () => {
    const peers = new Set();
    for (let count = 0; count < 20; count++) peers.add(String((await ask("/peer"))[0]));
    return peers.size < 5;
  },
  // fetch takes the coding off again, so the answer is what was packed.
  gzip: async () => {
    const headers = { "content-encoding": "gzip" };
    const [content, response] = await ask("/echo", { method: "POST", body: gzipSync("untouched"), headers });
    return response.headers.get("content-encoding") === "gzip" && String(content) === "untouched";
  },
};

for (const [name, check] of Object.entries(checks)) console.log(name, (await check()) ? "ok" : "FAILED");
console.log("done ok");
