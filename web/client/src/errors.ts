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
  cause?: unknown;
}

/** What `onError`, `state.error` and iterators say; `kind` parts the two subclasses. */
export abstract class GatewayError extends Error {
  abstract readonly kind: 'transport' | 'application';
  abstract readonly code: TransportCode | ApplicationCode;
  /** The HTTP status, where there was one. */
  readonly status: number | undefined;
  /** What the gateway says about it. */
  readonly problem: Problem | undefined;
  /** The channel that it is about; undefined: all. */
  readonly channel: string | undefined;
  /** The reason of a `gateway.close` or `gateway.error`, in the gateway's words or those of who took the right back. */
  readonly reason: string | undefined;

  constructor(message: string, details: Details = {}) {
    super(message, 'cause' in details ? { cause: details.cause } : undefined);
    this.status = details.status;
    this.problem = details.problem;
    this.channel = details.channel;
    this.reason = details.reason;
  }
}

/** The way to the gateway failed. The connection tries again by itself. */
export class TransportError extends GatewayError {
  override readonly name = 'TransportError';
  readonly kind = 'transport';
  readonly code: TransportCode;

  constructor(code: TransportCode, message: string, details?: Details) {
    super(message, details);
    this.code = code;
  }
}

/** The gateway refuses, and would again: the application has to do something. */
export class ApplicationError extends GatewayError {
  override readonly name = 'ApplicationError';
  readonly kind = 'application';
  readonly code: ApplicationCode;

  constructor(code: ApplicationCode, message: string, details?: Details) {
    super(message, details);
    this.code = code;
  }
}
