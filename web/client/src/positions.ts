/**
 * Cursors from inside. To an application they are opaque; tabs that share a stream have to know which of
 * them has an event already, and from where a new stream has to begin so that none misses one. The format is that of
 * the gateway's pkg/channels: `1`, and in base64url, for each channel, 6 bytes of a hash of its name and
 * the two numbers of the position as unsigned varints.
 */

/** Where channels are; a position is one number, so that two can be compared. */
export type Positions = Record<string, bigint>;

/** No positions: an object without a prototype, as a channel may be called `constructor`. */
export const nowhere = (): Positions => Object.create(null);

const VERSION = '1';
const HASH = 6;
const SEQUENCE = 64n;
/** How many hashes are kept. */
const MEMORY = 1000;

const hashes = new Map<string, string>();

/** FNV-1a of 64 bits, xor-folded to 48. Names are ASCII. */
function hashOf(channel: string): string {
  let known = hashes.get(channel);
  if (known === undefined) {
    let hash = 0xcbf29ce484222325n;
    for (let i = 0; i < channel.length; i++) {
      hash = BigInt.asUintN(64, (hash ^ BigInt(channel.charCodeAt(i))) * 0x100000001b3n);
    }
    known = ((hash >> 48n) ^ BigInt.asUintN(48, hash)).toString(16).padStart(2 * HASH, '0');
    if (hashes.size >= MEMORY) hashes.clear();
    hashes.set(channel, known);
  }
  return known;
}

/** What a cursor says of each of the channels. Nothing where it is of a version that this client does not know. */
export function positionsOf(cursor: string, channels: Iterable<string>): Positions {
  const marks = new Map<string, bigint>();
  if (cursor.startsWith(VERSION)) {
    const bytes = atob(cursor.slice(1).replaceAll('-', '+').replaceAll('_', '/'));
    let at = 0;
    const number = (): bigint => {
      let value = 0n;
      for (let shift = 0n; at < bytes.length; shift += 7n) {
        const byte = bytes.charCodeAt(at++);
        value |= BigInt(byte & 0x7f) << shift;
        if (byte < 0x80) break;
      }
      return value;
    };
    while (at < bytes.length) {
      let hash = '';
      for (const end = at + HASH; at < end; at++) hash += bytes.charCodeAt(at).toString(16).padStart(2, '0');
      marks.set(hash, (number() << SEQUENCE) | number());
    }
  }
  const positions = nowhere();
  for (const channel of channels) {
    const position = marks.get(hashOf(channel));
    if (position !== undefined) positions[channel] = position;
  }
  return positions;
}

/** The cursor of a connection that is at these positions; empty where there are none. */
export function cursorOf(positions: Positions): string {
  let bytes = '';
  const number = (value: bigint): void => {
    for (; value > 0x7fn; value >>= 7n) bytes += String.fromCharCode(Number(value & 0x7fn) | 0x80);
    bytes += String.fromCharCode(Number(value));
  };
  for (const [channel, position] of Object.entries(positions)) {
    for (const pair of hashOf(channel).match(/../g) ?? []) bytes += String.fromCharCode(Number.parseInt(pair, 16));
    number(position >> SEQUENCE);
    number(BigInt.asUintN(64, position));
  }
  return bytes && VERSION + btoa(bytes).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}
