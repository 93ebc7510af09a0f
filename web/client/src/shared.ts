import type { Connection, ConnectOptions, EventMap, UntypedEvents } from './types.js';

/** What `connectShared` takes beside the options of `connect`. */
export interface SharedOptions extends Omit<ConnectOptions, 'cursor' | 'lastN' | 'maxAge' | 'storage' | 'storageKey'> {
  /**
   * Who the tabs belong to: tabs with the same gateway and the same key share a connection, and with it the token of
   * one of them. So it names the user, and changes when another signs in; `''` only where everybody may read
   * everything.
   */
  storageKey: string;

  /**
   * The URL of the script `@realtime-gateway/client/worker`, for a SharedWorker that holds the connection. Without it, or where
   * there is none, one of the tabs does.
   */
  worker?: string | URL;
}

/**
 * Connects like `connect`, with one connection for all tabs of the origin, so that the
 * browser's limit of six is never reached. What comes back is used like any other connection.
 *
 * @throws TypeError where the URL or an option cannot be used
 */
export declare function connectShared<Events extends EventMap<Events> = UntypedEvents>(
  url: string | URL,
  options: SharedOptions,
): Connection<Events>;
