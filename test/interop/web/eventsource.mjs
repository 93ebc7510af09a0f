// The package eventsource, for Node.
import { EventSource } from 'eventsource';
import { fetchWith } from './tokens.mjs';

export function open({ url, tokens, types }, listener) {
  const source = new EventSource(url, { fetch: fetchWith(tokens) });
  for (const type of types) {
    source.addEventListener(type, (e) => listener.event(e.type, e.lastEventId, e.data));
  }
  source.onerror = (e) => {
    (source.readyState === EventSource.CLOSED ? listener.stopped : listener.failed)(e.message ?? 'the stream ended');
  };
  return () => source.close();
}
