// In place of polling: subscribe(sessionId, refresh).
import { connect } from '@realtime-gateway/client';

/** How long in ms events of one part are waited for before it is read once. */
const QUIET = 150;

/**
 * Calls `refresh(part)` when a part of the session has changed: soon after the first event, and once for
 * all that come meanwhile. At first, and after a gap, it is called for all parts.
 *
 * @param {string} sessionId
 * @param {readonly string[]} parts
 * @param {(part: string) => void} refresh
 * @param {{ token: () => Promise<string>, onEvent?: (part: string) => void }} options
 */
export function subscribe(sessionId, parts, refresh, { token, onEvent }) {
  const connection = connect('/', { token });
  const channel = connection.channel(`session:${sessionId}`);
  const waiting = new Map();

  // Not anew with each event: while everybody votes, the votes are shown all the same.
  const changed = (part) => {
    if (waiting.has(part)) return;
    const read = () => {
      waiting.delete(part);
      refresh(part);
    };
    waiting.set(part, setTimeout(read, QUIET));
  };

  channel.on('changed', ({ data }) => {
    onEvent?.(data.part);
    changed(data.part);
  });
  channel.onGap(() => parts.forEach(changed)); // away for longer than messageTTL
  const off = connection.onState(() => {
    if (!channel.open) return;
    off(); // later the stream continues where it stopped: nothing to read anew
    parts.forEach(changed);
  });
  return connection;
}
