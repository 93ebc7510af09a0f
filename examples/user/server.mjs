// The service of the user example: signs people in, and lets a support desk speak to them and throw them out.
import { publish, redis } from '../shared/node/publish.mjs';
import { Problem, serve } from '../shared/node/serve.mjs';
import { sign, userOf } from '../shared/node/token.mjs';

const TEAMS = { alice: ['red'], bob: ['red', 'blue'], carol: ['blue'] };

function known(user) {
  if (!TEAMS[user]) throw new Problem(400, `Nobody is called ${user}: try ${Object.keys(TEAMS).join(', ')}.`);
  return user;
}

const notice = (channel, text) => publish(channel, { type: 'notice', data: { text: String(text).slice(0, 200) } });

/** Takes rights back, on all replicas, before anything else is delivered. */
const disconnect = (user, ...what) =>
  redis.sendCommand(['FCALL', 'gateway_disconnect', '1', `gw.user:${user}`, ...what]);

serve({
  'POST /api/login': async ({ body }) => ({ token: await sign(known(body.user), [], { teams: TEAMS[body.user] }) }),

  // An error of the application comes by its own answer, and is no matter of the connection.
  'POST /api/order': async ({ request, body }) => {
    const user = await userOf(request);
    if (!(body.amount <= 100)) throw new Problem(422, 'An order is 100 at most.');
    await notice(`user:${user}`, `Your order of ${body.amount} is on its way.`);
  },

  // The support desk. An application would ask who is calling.
  'POST /api/support/message': ({ body }) => notice(`user:${known(body.user)}`, body.text),
  'POST /api/support/team': ({ body }) =>
    Promise.all(TEAMS[known(body.user)].map((team) => notice(`team:${team}`, body.text))),
  'POST /api/support/broadcast': ({ body }) => notice('broadcast', body.text),
  'POST /api/support/logout': ({ body }) => disconnect(known(body.user), 'REASON', 'signed out by support'),
  'POST /api/support/remove-team': async ({ body }) => {
    TEAMS[known(body.user)] = []; // of the next token
    await disconnect(body.user, 'CHANNEL', 'team:*', 'REASON', 'no longer in the team'); // of those that are out
  },
});
