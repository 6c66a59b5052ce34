// Node's own http.
const { createServer } = require('node:http');

const server = createServer((req, res) => {
  const content = 'Hello, world';
  res.setHeader('Content-Type', 'text/plain; charset=utf-8');
  res.setHeader('Content-Length', content.length);
  res.end(content);
});
server.listen(0, '127.0.0.1', 4096, () => console.log(`http://127.0.0.1:${server.address().port}`));
