import type { ApplicationCode, GatewayError, Problem, TransportCode } from './errors.js';
import type { Positions } from './positions.js';
import type { AnyEvent, ConnectionState, Gap, UntypedEvents } from './types.js';

/** An error on its way to another tab, where its class is lost. */
export interface PlainError {
  kind: 'transport' | 'application';
  code: TransportCode | ApplicationCode;
  message: string;
  status?: number | undefined;
  problem?: Problem | undefined;
  channel?: string | undefined;
  reason?: string | undefined;
  retryAfter?: number | undefined;
}

export type PlainState = Omit<ConnectionState, 'error'> & { error: PlainError | null };

/** What tabs tell who holds the connection. */
export type Request =
  /** The channels of a tab, after every change; and its positions where it is asked by `lead`, or has slept. */
  | { kind: 'want'; tab: string; channels: readonly string[]; at?: Positions; slept?: boolean }
  | { kind: 'bye'; tab: string }
  | { kind: 'reconnect' }
  /** Whoever holds the connection, answer; and do not wait, where somebody has just begun to look. */
  | { kind: 'ping'; tab: string; awake: boolean }
  | { kind: 'token'; question: string; value?: string; failure?: string };

/** What the one who holds the connection tells the tabs. */
export type Report =
  /** A connection is about to be made: where is everyone? */
  | { kind: 'lead' }
  /** Positions of the channels that are on the stream; null without history. Version counts changes. */
  | { kind: 'state'; version: number; state: PlainState; at: Record<string, bigint | null> }
  /** Position of the event, where it has one. No tab has asked for a channel that is `shared`: it is all tabs'. */
  | { kind: 'event'; event: AnyEvent<UntypedEvents>; at: bigint | undefined; shared: boolean }
  | { kind: 'gap'; gap: Gap; at: bigint | undefined; shared: boolean }
  | { kind: 'error'; error: PlainError; shared: boolean }
  /** A token is needed, and this tab is to have it. */
  | { kind: 'ask'; tab: string; question: string; refresh: boolean };

export type Message = Request | Report;

export function plain(error: GatewayError): PlainError {
  const { kind, code, message, status, problem, channel, reason, retryAfter } = error;
  return { kind, code, message, status, problem, channel, reason, retryAfter };
}
