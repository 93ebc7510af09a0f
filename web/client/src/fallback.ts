import { broken, parse, send, TransportError, urlOf } from './core.js';
import type { Open } from './transport.js';

/** A poll is answered after 25 s at the latest, in ms: what is silent for much longer is dead. */
const HEARTBEAT = 20_000;

const RESERVED = ['open', 'gap', 'close', 'error', 'heartbeat'].map((name) => `gateway.${name}`);

/** Asks again and again. Every answer comes with the cursor after it. */
export const openPoll: Open = async (subscription, sink) => {
  for (let first = true; ; first = false) {
    const response = await send(subscription, { mode: 'poll' });
    const answer = (await response.json().catch(broken)) as {
      events: { type: string }[];
      gaps: unknown[];
      cursor: string;
    };
    if (!Array.isArray(answer?.events)) {
      throw new TransportError('protocol', 'the answer is none to a poll', { status: response.status });
    }
    sink.heard();
    if (first) {
      const channels = Object.fromEntries(subscription.channels.map((name) => [name, '']));
      sink.event('gateway.open', { heartbeat: HEARTBEAT, channels }, '');
    }
    for (const gap of answer.gaps) sink.event('gateway.gap', gap, '');
    for (const event of answer.events) sink.event(event.type, event, '');
    sink.event('gateway.heartbeat', {}, answer.cursor);
    subscription = { ...subscription, cursor: answer.cursor };
  }
};

/** Uses the browser's own client. It sends no headers and tells no status, and has to know the types. */
export const openEventSource: Open = (subscription, sink) =>
  new Promise((_, reject) => {
    const { cursor, token, credentials, types, signal } = subscription;
    const source = new EventSource(urlOf(subscription, { heartbeat: 'event', lastEventId: cursor, token }), {
      withCredentials: credentials === 'include',
    });
    const listened = new Set<string>();
    let heard = false;
    const listen = (type: string): void => {
      if (listened.has(type)) return;
      listened.add(type);
      source.addEventListener(type, (message: Event) => {
        // What was published with the type "error" has data, and what EventSource says by it has none.
        if (!(message instanceof MessageEvent)) return;
        heard = true;
        sink.heard();
        parse(sink, type, message.data, message.lastEventId);
      });
    };
    for (const type of ['message', ...RESERVED, ...types]) listen(type);
    subscription.onType(listen);
    signal.addEventListener('abort', () => source.close());
    source.addEventListener('error', (message) => {
      if (message instanceof MessageEvent) return;
      const refused = source.readyState === EventSource.CLOSED && !heard;
      // It would come back by itself, and without telling how often it failed.
      source.close();
      if (heard) reject(new TransportError('ended', 'the stream ended'));
      else if (!refused) reject(new TransportError('network', 'the gateway cannot be reached'));
      // Which refusal it was, EventSource does not say. A poll is refused alike.
      else {
        send(subscription, { mode: 'poll' }).then(
          () => reject(new TransportError('http', 'the stream was refused')),
          reject,
        );
      }
    });
  });
