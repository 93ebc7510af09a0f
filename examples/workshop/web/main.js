import { act, ask, byId, el, me, showConnection, showPeople } from '/shared/page.js';
import { subscribe } from './subscribe.js';

const session = new URLSearchParams(location.search).get('session') ?? 'spring';
const path = `/api/sessions/${session}`;

const parts = {
  phase: ({ phase }) => byId('phase').replaceChildren(phase),
  people: (people) => byId('here').replaceChildren(...people.map((name) => el('li', { className: 'item' }, name))),
  ideas: (ideas) => byId('ideas').replaceChildren(...ideas.map(idea)),
};

/** Counts, to be looked at. */
const counts = Object.fromEntries(Object.keys(parts).map((part) => [part, { events: 0, requests: 0 }]));
function showCounts() {
  byId('reads').replaceChildren(
    ...Object.entries(counts).map(([part, { events, requests }]) =>
      el('tr', { 'data-part': part }, el('td', {}, part), el('td', {}, String(events)), el('td', {}, String(requests))),
    ),
  );
}

const refresh = act(async (part) => {
  counts[part].requests++;
  parts[part](await ask('GET', `${path}/${part}`));
  showCounts();
});

const connection = subscribe(session, Object.keys(parts), refresh, {
  token: async () => (await ask('POST', `${path}/join`, { body: { name: me } })).token,
  onEvent: (part) => counts[part].events++,
});

const vote = (id) => ask('POST', `${path}/ideas/${id}/vote`);
function idea({ id, text, votes }) {
  const button = el(
    'button',
    { className: 'small', type: 'button', onclick: act(() => vote(id)), 'aria-label': `Vote for ${text}` },
    `▲ ${votes}`,
  );
  return el('li', { className: 'item', 'data-votes': votes }, el('span', {}, text), button);
}

byId('composer').onsubmit = act(async ({ target }) => {
  await ask('POST', `${path}/ideas`, { body: { text: target.text.value } });
  target.reset();
});
byId('next').onclick = act(() => ask('POST', `${path}/phase`));
byId('burst').onclick = act(() => Promise.all(Array.from({ length: 20 }, () => vote(1))));

byId('session').textContent = session;
showConnection(connection);
showPeople(['alice', 'bob', 'carol']);
showCounts();
