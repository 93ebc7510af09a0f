import { cursorOf, nowhere, type Positions, positionsOf } from '../src/positions.js';

/** `late`: opens after 300 ms. `mute`: never. `refused`: comes with a `gateway.close`. `failed`: there is no network. */
export type Trouble = 'none' | 'late' | 'mute' | 'refused' | 'failed';

interface Stream {
  channels: readonly string[];
  at: Positions;
  controller: ReadableStreamDefaultController<Uint8Array>;
}

/**
 * A gateway in miniature, which keeps its promises: streams begin where their cursor says,
 * and every event comes once and in order. Channels that begin with `plain` have no history.
 */
export class ModelGateway {
  /** How many streams are open. */
  get open(): number {
    return this.#streams.size;
  }
  /** How many were opened. */
  opened = 0;
  tokens: (string | null)[] = [];
  /** The channels that every stream has beside those that it asks for. */
  joins: string[] = [];
  /** What goes wrong with the next requests. */
  troubles: Trouble[] = [];
  readonly #logs = new Map<string, number[]>();
  readonly #streams = new Set<Stream>();
  readonly #encoder = new TextEncoder();

  constructor() {
    setInterval(() => {
      for (const { controller } of this.#streams) controller.enqueue(this.#encoder.encode(':\n\n'));
    }, 15_000);
  }

  readonly fetch = ((input: string, init: RequestInit = {}) => {
    const url = new URL(input);
    const headers = new Headers(init.headers);
    const channels = [...url.searchParams.getAll('channel'), ...this.joins];
    const known = positionsOf(headers.get('Last-Event-ID') ?? '', channels);
    this.tokens.push(headers.get('Authorization'));
    const trouble = this.troubles.shift() ?? 'none';
    if (trouble === 'failed') return Promise.reject(new TypeError('fetch failed'));
    const at = nowhere();
    for (const channel of channels) {
      if (!channel.startsWith('plain')) at[channel] = known[channel] ?? this.#top(channel);
    }
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        const stream: Stream = { channels, at, controller };
        init.signal?.addEventListener('abort', () => {
          if (this.#streams.delete(stream)) controller.error(init.signal?.reason);
        });
        if (trouble === 'refused') {
          const data = JSON.stringify({ reason: 'full', reconnect: true, retry: 700 });
          controller.enqueue(this.#encoder.encode(`event: gateway.close\ndata: ${data}\n\n`));
          controller.close();
        } else if (trouble === 'late') {
          setTimeout(() => !init.signal?.aborted && this.#begin(stream), 300);
        } else if (trouble === 'none') this.#begin(stream);
      },
    });
    return Promise.resolve(new Response(body, { headers: { 'Content-Type': 'text/event-stream' } }));
  }) as typeof fetch;

  #begin(stream: Stream): void {
    const { channels, at } = stream;
    this.#streams.add(stream);
    this.opened++;
    const starts = Object.fromEntries(channels.map((name) => [name, name in at ? 'x' : null]));
    this.#say(stream, 'gateway.open', { connection: 'c', channels: starts, heartbeat: 20_000 });
    for (const channel of channels) this.#catchUp(stream, channel);
  }

  #top(channel: string): bigint {
    return BigInt(this.#logs.get(channel)?.length ?? 0) << 64n;
  }

  #catchUp(stream: Stream, channel: string): void {
    const log = this.#logs.get(channel) ?? [];
    for (let i = Number((stream.at[channel] ?? 0n) >> 64n); channel in stream.at && i < log.length; i++) {
      stream.at[channel] = BigInt(i + 1) << 64n;
      this.#say(stream, 'n', { channel, event_id: `${i + 1}-0`, type: 'n', timestamp: 'T', data: log[i] });
    }
  }

  #say(stream: Stream, type: string, data: object): void {
    const id = cursorOf(stream.at);
    stream.controller.enqueue(
      this.#encoder.encode(`${id && `id: ${id}\n`}event: ${type}\ndata: ${JSON.stringify(data)}\n\n`),
    );
  }

  /** Publishes the channel's next number, and returns it. */
  publish(channel: string): number {
    const log = this.#logs.get(channel) ?? [];
    this.#logs.set(channel, log);
    const n = log.push(log.length + 1);
    for (const stream of this.#streams) {
      if (!stream.channels.includes(channel)) continue;
      if (channel in stream.at) this.#catchUp(stream, channel);
      else this.#say(stream, 'n', { channel, event_id: `${n}-0`, type: 'n', timestamp: 'T', data: n });
    }
    return n;
  }

  /** Takes a channel from all streams. */
  take(channel: string, reason: string): void {
    for (const stream of this.#streams) {
      stream.channels = stream.channels.filter((name) => name !== channel);
      this.#say(stream, 'gateway.error', { channel, reason });
    }
  }

  /** Breaks all streams off. */
  cut(): void {
    for (const { controller } of this.#streams) controller.error(new TypeError('terminated'));
    this.#streams.clear();
  }
}
