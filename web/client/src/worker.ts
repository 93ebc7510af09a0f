import { createHub, type Hub, type HubOptions } from './hub.js';
import type { Message, Report, Request } from './messages.js';

/** What a tab tells the worker first. */
export interface WorkerOrder {
  /** Of the tabs' channel and lock. */
  name: string;
  url: string;
  options: HubOptions;
  /** Whether there are tokens, which the tabs have. */
  asks: boolean;
}

/** Holds the connection of the tabs of one name while there are any. */
function hold({ name, url, options, asks }: WorkerOrder): void {
  const bus = new BroadcastChannel(name);
  let hub: Hub | undefined;
  const send = (report: Report): void => bus.postMessage(report);
  bus.onmessage = ({ data }: MessageEvent<Message>) => hub?.receive(data as Request);
  // It ends too when a tab takes the lock.
  navigator.locks
    .request(
      name,
      () =>
        new Promise<void>((release) => {
          hub = createHub(name, url, options, asks, send, release);
        }),
    )
    .catch(() => {})
    .then(() => {
      hub?.close();
      bus.close();
      held.delete(name);
    });
}

const held = new Set<string>();

globalThis.addEventListener('connect', (event) => {
  const [port] = (event as MessageEvent).ports;
  port?.addEventListener('message', ({ data }: MessageEvent<WorkerOrder>) => {
    if (held.has(data.name)) return;
    held.add(data.name);
    hold(data);
  });
  port?.start();
});
