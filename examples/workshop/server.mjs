// The service of the workshop example: sessions of people who collect and vote on ideas.
import { publish } from '../shared/node/publish.mjs';
import { Problem, serve } from '../shared/node/serve.mjs';
import { sign } from '../shared/node/token.mjs';

const PHASES = ['Collect', 'Vote', 'Discuss'];
const sessions = new Map();

function session(id) {
  if (!/^[a-z0-9-]{1,40}$/.test(id)) throw new Problem(400, 'A session is called by a-z, 0-9 and -.');
  if (!sessions.has(id))
    sessions.set(id, { phase: 0, ideas: [{ id: 1, text: 'Show the real thing', votes: 0 }], people: [] });
  return sessions.get(id);
}

/**
 * Tells all who are in a session which part of it has changed. Before, each of them asked every
 * two seconds.
 */
const broadcast = (sessionId, part) => publish(`session:${sessionId}`, { type: 'changed', data: { part } });

serve({
  'POST /api/sessions/:id/join': async ({ params, body }) => {
    const name = String(body.name ?? '')
      .trim()
      .slice(0, 40);
    if (!name) throw new Problem(400, 'Say who you are.');
    const { people } = session(params.id);
    if (!people.includes(name)) {
      people.push(name);
      await broadcast(params.id, 'people');
    }
    return { token: await sign(name, [`session:${params.id}`]) };
  },

  // Each part is read by itself, so a vote does not have anybody read the list of people again.
  'GET /api/sessions/:id/phase': ({ params }) => ({ phase: PHASES[session(params.id).phase] }),
  'GET /api/sessions/:id/ideas': ({ params }) => session(params.id).ideas,
  'GET /api/sessions/:id/people': ({ params }) => session(params.id).people,

  'POST /api/sessions/:id/phase': async ({ params }) => {
    const s = session(params.id);
    s.phase = (s.phase + 1) % PHASES.length;
    await broadcast(params.id, 'phase');
  },
  'POST /api/sessions/:id/ideas': async ({ params, body }) => {
    const text = String(body.text ?? '')
      .trim()
      .slice(0, 200);
    if (!text) throw new Problem(400, 'An idea has words.');
    const { ideas } = session(params.id);
    ideas.push({ id: ideas.length + 1, text, votes: 0 });
    await broadcast(params.id, 'ideas');
  },
  'POST /api/sessions/:id/ideas/:idea/vote': async ({ params }) => {
    const idea = session(params.id).ideas[params.idea - 1];
    if (!idea) throw new Problem(404, 'There is no such idea.');
    idea.votes++;
    await broadcast(params.id, 'ideas');
  },
});
