export { ApplicationError, type ApplicationCode, GatewayError, type Problem, TransportError, type TransportCode } from './errors.js';
export type * from './types.js';
import type { Connection, ConnectOptions, EventMap, UntypedEvents } from './types.js';

/**
 * Connects to a gateway, stays connected, and continues after every interruption
 * where it stopped.
 *
 * @param url the gateway's address, such as `https://rt.example.com`, or relative to the page; `/v1/events` is
 *   appended where it has no path
 * @throws TypeError where the URL or an option cannot be used; everything later is told by `onError` and `state`
 */
export declare function connect<Events extends EventMap<Events> = UntypedEvents>(
  url: string | URL,
  options?: ConnectOptions,
): Connection<Events>;
