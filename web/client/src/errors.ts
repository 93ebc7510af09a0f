/** What an `application/problem+json` body says (RFC 9457). */
export interface Problem {
  readonly type?: string;
  readonly title?: string;
  readonly status?: number;
  readonly detail?: string;
  /** Which limit was reached, with 429. */
  readonly limit?: string;
  /** Which channel is refused, with 403. */
  readonly channel?: string;
}

/**
 * What can go wrong on the way. `network`: no connection. `timeout`: no answer within `openTimeout`. `silent`: not even
 * heartbeats. `ended`: the stream broke off. `http`: a status that the gateway does not send in this way,
 * so it is a proxy's, or 429 or 503. `protocol`: an answer that is no stream. `token`: the token function failed.
 */
export type TransportCode = 'network' | 'timeout' | 'silent' | 'ended' | 'http' | 'protocol' | 'token';

/**
 * What the gateway refuses. `malformed`: 400. `unauthorized`: 401. `forbidden`: 403, of one channel
 * where `channel` is set. `refused`: another 4xx. `channel_lost`: the right to one channel ended. `revoked`: the right to
 * all did. `overflow`: an iterator was not read fast enough. `attempts`: `maxAttempts` failed.
 */
export type ApplicationCode =
  | 'malformed'
  | 'unauthorized'
  | 'forbidden'
  | 'refused'
  | 'channel_lost'
  | 'revoked'
  | 'overflow'
  | 'attempts';

interface Details {
  status?: number | undefined;
  problem?: Problem | undefined;
  channel?: string | undefined;
  reason?: string | undefined;
  retryAfter?: number | undefined;
  cause?: unknown;
}

/** What `onError`, `state.error` and iterators say; `kind` parts the two subclasses. */
export abstract class GatewayError<Code extends string = TransportCode | ApplicationCode> extends Error {
  abstract readonly kind: 'transport' | 'application';
  declare readonly code: Code;
  /** The HTTP status, where there was one. */
  declare readonly status?: number;
  /** What the gateway says about it. */
  declare readonly problem?: Problem;
  /** The channel that it is about; without it, all. */
  declare readonly channel?: string;
  /** The reason of a `gateway.close` or `gateway.error`: the gateway's, or of who took the right back. */
  declare readonly reason?: string;
  /** How long in ms to wait at least, where an answer says so. */
  declare readonly retryAfter?: number;

  constructor(code: Code, message: string, details?: Details) {
    super(message);
    Object.assign(this, { code, ...details });
  }
}

/** The way to the gateway failed. The connection tries again by itself. */
export class TransportError extends GatewayError<TransportCode> {
  override readonly name = 'TransportError';
  readonly kind = 'transport';
}

/** The gateway refuses, and would again: the application has to do something. */
export class ApplicationError extends GatewayError<ApplicationCode> {
  override readonly name = 'ApplicationError';
  readonly kind = 'application';
}
