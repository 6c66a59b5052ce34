// micro, the original.
const { createServer } = require('node:http');
const { serve } = require('micro');

const server = createServer(
  serve(async (req, res) => {
    res.setHeader('Content-Type', 'text/plain; charset=utf-8');
    return 'Hello, world';
  }),
);
server.listen(0, '127.0.0.1', 4096, () => console.log(`http://127.0.0.1:${server.address().port}`));
