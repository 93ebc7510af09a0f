// Publishing to Redis, for the Node services of the examples.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient, ErrorReply } from 'redis';

// RESP2 is what every Redis speaks, the embedded one of `gateway --dev` too.
export const redis = createClient({ url: process.env.REDIS_URL, RESP: 2 });
redis.on('error', (error) => console.error('redis:', error.message)); // it reconnects by itself
await redis.connect();

/** What would fail again. Everything else is a restart, a failover, a slot that moves, and passes. */
const final = (error) => error instanceof ErrorReply && /^(ERR gateway:|NOPERM)/.test(error.message);

/**
 * Publishes an event on a channel, and returns its position in the channel's stream. The id makes it the
 * same event however often the call is repeated, so what fails on the way is repeated.
 */
export async function publish(channel, event, id = randomUUID()) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await redis.sendCommand([
        'FCALL',
        'gateway_publish',
        '1',
        `gw:${channel}`,
        JSON.stringify(event),
        'EVENTID',
        id,
      ]);
    } catch (error) {
      if (final(error) || attempt === 6) throw error;
      await sleep(100 * 2 ** attempt * Math.random());
    }
  }
}
