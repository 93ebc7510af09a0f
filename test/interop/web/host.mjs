// Lets JavaScript clients of Server-Sent Events subscribe, as it is told on
// standard input, and says on standard output what they heard: the same lines
// as goclients. It ends with its input.
//
// Each client has a file, and is used there as docs/clients.md advises; or bare,
// which is with what it does by itself.
import { createInterface } from 'node:readline';

const clients = {
  eventsource: () => import('./eventsource.mjs'),
  'fetch-event-source': () => import('./fetch-event-source.mjs'),
  chromium: () => import('./chromium.mjs'),
};

const write = (report) => process.stdout.write(JSON.stringify(report) + '\n');
const sessions = new Map(); // by id, a promise of what closes one
const loaded = new Set();

async function open(command) {
  const client = await clients[command.client]();
  loaded.add(client);
  const { id } = command;
  return client.open(command, {
    event: (event, lastEventId, data) => write({ id, kind: 'event', event, lastEventId, data }),
    failed: (text) => write({ id, kind: 'error', text: String(text) }),
    stopped: (text) => write({ id, kind: 'stopped', text: String(text) }),
  });
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  if (command.close) {
    sessions.get(command.id).then((close) => close());
  } else {
    sessions.set(command.id, open(command));
  }
}
await Promise.all([...loaded].map((client) => client.end?.()));
process.exit(0);
