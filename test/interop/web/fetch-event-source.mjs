// The package @microsoft/fetch-event-source. It is for browsers and asks for a
// window and a document, which are the few functions below.
import { fetchEventSource } from '@microsoft/fetch-event-source';
import { fetchWith } from './tokens.mjs';

globalThis.window = globalThis;
globalThis.document = { addEventListener() {}, removeEventListener() {} };

class Refused extends Error {}

// What it does not do by itself: stop at what is refused for good, come back
// after a stream that ended in order, and ignore comments.
const advised = (listener) => ({
  async onopen(response) {
    if (response.ok) return;
    const permanent = response.status >= 400 && response.status < 500;
    throw new (permanent ? Refused : Error)(`${response.status}: ${await response.text()}`);
  },
  onmessage(m) {
    if (m.data !== '') listener.event(m.event, m.id, m.data);
  },
  onclose() {
    throw new Error('the stream ended');
  },
  onerror(err) {
    if (err instanceof Refused) throw err;
    listener.failed(err);
  },
});

const bare = (listener) => ({
  onmessage: (m) => listener.event(m.event, m.id, m.data),
  // What it returned would be the pause in milliseconds.
  onerror: (err) => void listener.failed(err),
});

export function open(command, listener) {
  const controller = new AbortController();
  fetchEventSource(command.url, {
    fetch: fetchWith(command.tokens), // its option headers is the same for all attempts
    signal: controller.signal,
    openWhenHidden: true,
    ...(command.bare ? bare : advised)(listener),
  }).then(
    () => listener.stopped('it ended'),
    (err) => listener.stopped(err),
  );
  return () => controller.abort();
}
