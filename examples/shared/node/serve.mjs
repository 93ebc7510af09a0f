// JSON over HTTP in a few lines, for the Node services of the examples.
import { createServer } from 'node:http';

/** An error with a status and a text for the user. */
export class Problem extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/**
 * Serves routes such as `'PATCH /api/posts/:id': ({ params, body, request }) => answer` on the socket SOCKET.
 * What a handler throws is answered as `{ error }`.
 */
export function serve(routes) {
  const table = Object.entries({ 'GET /api/health': () => 'ok', ...routes }).map(([route, handler]) => {
    const [method, path] = route.split(' ');
    return { method, pattern: new RegExp(`^${path.replace(/:(\w+)/g, '(?<$1>[^/]+)')}$`), handler };
  });
  const server = createServer(async (request, response) => {
    let status = 200;
    let answer;
    try {
      const { pathname } = new URL(request.url, 'http://service');
      const body = await read(request);
      const route = table.find(({ method, pattern }) => method === request.method && pattern.test(pathname));
      if (!route) throw new Problem(404, `There is no ${request.method} ${pathname}.`);
      answer = await route.handler({ params: { ...route.pattern.exec(pathname).groups }, body, request });
    } catch (error) {
      status = error.status ?? 503;
      if (!error.status) console.error(request.method, request.url, error);
      answer = { error: error.status ? error.message : 'The service cannot do that at the moment.' };
    }
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer ?? null));
  });
  server.listen(process.env.SOCKET);
  process.once('SIGTERM', () => process.exit(0));
}

async function read(request) {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) {
    text += chunk;
    if (text.length > 65536) throw new Problem(413, 'That is too long.');
  }
  try {
    return text === '' ? {} : JSON.parse(text);
  } catch {
    throw new Problem(400, 'That is no JSON.');
  }
}
