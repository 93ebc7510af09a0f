import { connectShared } from '@realtime-gateway/client/shared';
import { act, ask, byId, el, me, showConnection, showPeople } from '/shared/page.js';

let token = '';
const signIn = async () => (token = (await ask('POST', '/api/login', { body: { user: me } })).token);

// One connection for all tabs of this user. It names no channel: the gateway joins what the token says.
const connection = connectShared('/', {
  storageKey: me,
  worker: '/client/worker.js',
  token: signIn,
  autoSubscribe: true,
});

connection.on('notice', ({ channel, data, event_id }) => {
  if (byId(event_id)) return;
  byId('notices').prepend(
    el(
      'li',
      { id: event_id, className: 'item fresh' },
      el('span', {}, data.text),
      el('span', { className: 'tag' }, channel),
    ),
  );
});
connection.onGap(({ channel }) => {
  byId('notices').prepend(
    el('li', { className: 'item' }, `You were away for long: notices of ${channel} are missing.`),
  );
});

// Errors of the way are shown in the head, and pass. What the application decided is said by itself.
connection.onError((error) => {
  if (error.kind === 'application' && error.code === 'channel_lost') {
    byId('lost').hidden = false;
    byId('lost').textContent = `You have lost ${error.channel}: ${error.reason}. The rest goes on.`;
  }
});
connection.onState(({ status, error, open }) => {
  byId('channels').replaceChildren(
    ...Object.keys(open?.channels ?? {}).map((name) => el('li', { className: 'item' }, el('code', {}, name))),
  );
  const out = status === 'closed' && error?.code === 'revoked';
  byId('signed-out').hidden = !out;
  document.querySelector('main').inert = out;
  if (out) byId('signed-out').firstElementChild.textContent = `Your session has ended: ${error.reason}.`;
});
byId('sign-in').onclick = () => connection.reconnect(); // which asks for a new token

byId('order').onsubmit = act(({ target }) =>
  signIn().then(() => ask('POST', '/api/order', { body: { amount: Number(target.amount.value) }, token })),
);
byId('support').onsubmit = act(({ target, submitter }) =>
  ask('POST', `/api/support/${submitter.value}`, { body: { user: target.user.value, text: target.text.value } }),
);

// Pages of one document: the connection stays.
function show() {
  const page = location.hash.slice(1) || 'home';
  for (const link of document.querySelectorAll('#pages a')) {
    const current = link.hash === `#${page}`;
    link.toggleAttribute('aria-current', current);
    if (current) byId('title').textContent = link.textContent;
  }
  for (const section of document.querySelectorAll('[data-page]')) section.hidden = section.dataset.page !== page;
}
window.addEventListener('hashchange', show);
show();
showConnection(connection);
showPeople(['alice', 'bob', 'carol']);
