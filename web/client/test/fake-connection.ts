import { createSurface } from '../src/surface.js';
import type { AnyEvent, Connection, ConnectionState, EventMap, UntypedEvents } from '../src/types.js';

/** A connection whose events, gaps and states the test makes. */
export interface FakeConnection<Events> {
  readonly connection: Connection<Events>;
  /** Delivers an event with these fields, and a new id unless it has one. */
  event(channel: string, fields: { type: string; event_id?: string; [field: string]: unknown }): void;
  gap(channel: string): void;
  /** Opens a stream of these channels. */
  open(...channels: string[]): void;
  state(change: Partial<ConnectionState>): void;
  /** How often `close` was called. */
  closed: number;
}

export function fakeConnection<Events extends EventMap<Events> = UntypedEvents>(): FakeConnection<Events> {
  let count = 0;
  const surface = createSurface([], 1000, {
    cursor: () => '',
    changed() {},
    listened() {},
    reconnect() {},
    close() {
      fake.closed++;
    },
  });
  const fake: FakeConnection<Events> = {
    connection: surface.connection as unknown as Connection<Events>,
    event(channel, fields) {
      count++;
      surface.event({ channel, event_id: `e${count}`, timestamp: 'T', ...fields } as AnyEvent<UntypedEvents>);
    },
    gap: (channel) => surface.gap({ channel, reason: 'lost', from: '1-0', to: '2-0' }),
    open: (...channels) =>
      surface.state({
        status: 'live',
        reason: '',
        open: { heartbeat: 20_000, channels: Object.fromEntries(channels.map((name) => [name, '0-0'])) },
      }),
    state: surface.state,
    closed: 0,
  };
  return fake;
}
