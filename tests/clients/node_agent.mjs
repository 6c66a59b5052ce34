// Node's http with an agent that keeps its one connection.
import http from "node:http";
import { gunzipSync, gzipSync } from "node:zlib";

const [url] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const pattern = (length) => Buffer.from(Uint8Array.from({ length }, (_, index) => index % 251));

const ask = (method, path, { body = [], headers = {}, length } = {}) =>
  new Promise((resolve, reject) => {
    if (length !== undefined) headers = { ...headers, "content-length": length };
    const request = http.request(url + path, { method, headers, agent }, (response) => {
      const content = [];
      response.on("data", (piece) => content.push(piece));
      response.on("error", reject);
      response.on("end", () => resolve({ response, continued: request.continued, content: Buffer.concat(content) }));
    });
    const write = () => {
      body.forEach((piece) => request.write(piece));
      request.end();
    };
    request.on("error", reject);
    request.on("continue", () => {
      request.continued = true;
      write();
    });
    if (headers.expect) request.flushHeaders();
    else write();
  });

const checks = {
  get: async () => String((await ask("GET", "/")).content) === "Hello, world",
  head: async () => {
    const { content, response } = await ask("HEAD", "/");
    return response.headers["content-length"] === "12" && content.length === 0;
  },
  304: async () => (await ask("GET", "/", { headers: { "if-none-match": '"1"' } })).response.statusCode === 304,
  echo: async () => {
    for (const length of [0, 1, 65536, 10000000]) {
      const { content } = await ask("POST", "/echo", { body: [pattern(length)], length });
      if (!content.equals(pattern(length))) return false;
    }
    return true;
  },
  upload: async () => {
    const whole = pattern(1000000);
    const body = Array.from({ length: 101 }, (_, index) => whole.subarray(index * 9999, (index + 1) * 9999));
    return String((await ask("POST", "/check", { body })).content) === "1000000";
  },
  download: async () => (await ask("GET", "/chunks/10000000")).content.equals(pattern(10000000)),
  reuse: async () => (await ask("GET", "/peer")).content.equals((await ask("GET", "/peer")).content),
  expect: async () => {
    const headers = { expect: "100-continue" };
    const { continued, content } = await ask("POST", "/check", { body: [pattern(100000)], headers, length: 100000 });
    return continued && String(content) === "100000";
  },
  gzip: async () => {
    const packed = gzipSync("untouched");
    const headers = { "content-encoding": "gzip" };
    const { response, content } = await ask("POST", "/echo", { body: [packed], headers, length: packed.length });
    return response.headers["content-encoding"] === "gzip" && String(gunzipSync(content)) === "untouched";
  },
};

for (const [name, check] of Object.entries(checks)) console.log(name, (await check()) ? "ok" : "FAILED");
agent.destroy();
console.log("done ok");
