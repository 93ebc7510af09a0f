import type { Connection, EventMap, Gap, Handler, Source, Unsubscribe, UntypedEvents } from './types.js';

/** What takes a channel's events by itself, such as `invalidationRules` and `createOptimistic` make it. */
export interface Attachable<Events> {
  /**
   * Takes the events of a channel, or of a whole connection where none is named, from now on. May be called for several, and
   * more than once for the same: an event counts once.
   * @returns a function that ends it, a second after it is called: what attaches the same until then misses nothing
   */
  attach(connection: Connection<Events>, channel?: string): Unsubscribe;
}

/** What an {@link Attachable} is made of. */
export interface Taker {
  /** The handlers of events, by type. Each is called once with an event, however many ways it comes. */
  events: readonly { type: string; take: Handler<never> }[];
  /**
   * Events of the channel are missing, or may be: there was a gap, or it has just come onto the stream, and what was
   * fetched before that may be older than the first event.
   */
  missed(channel: string): void;
  /** Somebody is there again, or for the first time. */
  started?(): void;
  /** Nobody is there any more. */
  ended?(): void;
}

/** How long in ms the next page has to attach the same. */
const LINGER = 1000;

interface Attachment {
  count: number;
  timer: ReturnType<typeof setTimeout> | undefined;
  end: Unsubscribe;
}

/** Makes the `attach` of an {@link Attachable}. */
export function createAttach<Events extends EventMap<Events>>(taker: Taker): Attachable<Events>['attach'] {
  const all = new Map<unknown, Map<string | undefined, Attachment>>(); // by connection and channel
  const events = taker.events.map(({ type, take }) => ({ type, take: once(take as Handler<object>) }));
  const takeGap = once((gap: Gap) => taker.missed(gap.channel));
  let started = 0;

  function start(connection: Connection<UntypedEvents>, channel: string | undefined): Unsubscribe {
    const source: Source<UntypedEvents> = channel === undefined ? connection : connection.channel(channel);
    if (started++ === 0) taker.started?.();
    return endAll([
      ...events.map(({ type, take }) => source.on(type, take)),
      source.onGap(takeGap),
      onJoin(connection, channel, (joined) => taker.missed(joined)),
      () => --started || taker.ended?.(),
    ]);
  }

  return (typed, channel) => {
    const connection = typed as unknown as Connection<UntypedEvents>;
    const channels = all.get(connection) ?? new Map<string | undefined, Attachment>();
    all.set(connection, channels);
    const attachment: Attachment = channels.get(channel) ?? {
      count: 0,
      timer: undefined,
      end: start(connection, channel),
    };
    channels.set(channel, attachment);
    attachment.count++;
    clearTimeout(attachment.timer);
    let over = false;
    return () => {
      if (over) return;
      over = true;
      if (--attachment.count > 0) return;
      attachment.timer = setTimeout(() => {
        channels.delete(channel);
        if (channels.size === 0) all.delete(connection);
        attachment.end();
      }, LINGER);
    };
  };
}

/**
 * Calls the handler when a channel has come onto the stream without continuing where one before it stopped, and
 * at once where it is there already.
 */
function onJoin(
  connection: Connection<UntypedEvents>,
  channel: string | undefined,
  handler: (channel: string) => void,
): Unsubscribe {
  let before: readonly string[] = [];
  const look = (): void => {
    const { open } = connection.state;
    if (!open) return; // An interruption: the next stream continues, or says that there is a gap.
    const now = Object.keys(open.channels ?? {});
    const joined = now.filter((name) => !before.includes(name) && (channel ?? name) === name);
    before = now;
    for (const name of joined) handler(name);
  };
  look();
  return connection.onState(look);
}

/** A handler that is called once with each object, from however many subscriptions. */
function once<Value extends object>(handler: (value: Value) => void): (value: Value) => void {
  const seen = new WeakSet<Value>();
  return (value) => {
    if (seen.has(value)) return;
    seen.add(value);
    handler(value);
  };
}

/** One function for several. */
export function endAll(ends: readonly (() => void)[]): Unsubscribe {
  return () => {
    for (const end of ends) end();
  };
}
