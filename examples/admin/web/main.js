import { connect } from '@realtime-gateway/client';
import { act, ask, byId, el, me, showConnection, showPeople, toast } from '/shared/page.js';

/** A fresh one for every attempt. It says who it is; about each channel the gateway asks the service. */
let token = '';
const fetchToken = async () => (token = (await ask('POST', '/api/token', { body: { user: me } })).token);
await fetchToken();

const connection = connect('/', { token: fetchToken });
connection.channel('site:banner').on('banner', ({ data }) => {
  byId('banner').hidden = false;
  byId('banner').textContent = data.text;
});

/** What ends watching a project, by its name. */
const watched = new Map();

/** Subscribes to the two channels of a project. The others of the connection miss nothing by it. */
function watch(project) {
  const notifications = connection.channel(`project:${project}:notifications`);
  const status = connection.channel(`project:${project}:status`);
  const ends = [
    notifications.on('notification', ({ data, timestamp }) => notify(project, data.text, new Date(timestamp))),
    notifications.onGap(({ count }) =>
      notify(project, `${count ?? 'Some'} notifications are too old to be shown.`, new Date()),
    ),
    status.on('status', ({ data }) => progress(project, data)),
  ];
  watched.set(project, () => {
    for (const end of ends) end();
  });
}

function unwatch(project) {
  watched.get(project)?.();
  watched.delete(project);
  byId(`status-${project}`)?.remove();
}

// A channel that is refused or lost is no matter of the connection: the others go on.
connection.onError((error) => {
  if (error.kind !== 'application') return;
  toast(error.problem?.detail ?? error.message, 'error');
  const project = error.channel?.split(':')[1];
  if (!watched.has(project)) return;
  unwatch(project);
  showProjects();
});

function notify(project, text, time) {
  const item = el(
    'li',
    { className: 'item fresh' },
    el('span', {}, text),
    el('span', { className: 'tag' }, project),
    el('time', { className: 'soft' }, time.toLocaleTimeString()),
  );
  byId('notifications').prepend(item);
  while (byId('notifications').children.length > 20) byId('notifications').lastChild.remove();
}

function progress(project, { step, percent }) {
  const bar = el('progress', { max: 100, value: percent, 'aria-label': `${project}: ${step}` });
  const item = el('li', { id: `status-${project}`, className: 'item' }, el('span', {}, `${project}: ${step}`), bar);
  const old = byId(item.id);
  if (old) old.replaceWith(item);
  else byId('status').append(item);
}

const post = (path, body) => ask('POST', path, { body, token });

function row(project) {
  const watching = watched.has(project);
  const toggle = () => {
    if (watching) unwatch(project);
    else watch(project);
    showProjects();
  };
  const button = (text, onclick) => el('button', { className: 'small', type: 'button', onclick: act(onclick) }, text);
  const eye = button(watching ? 'Watching' : 'Watch', toggle);
  eye.setAttribute('aria-pressed', watching);
  return el(
    'li',
    { className: 'item', 'data-project': project },
    el('span', {}, project),
    eye,
    button('Notify', () => post(`/api/projects/${project}/notifications`, { text: `${me} says hello` })),
    button('Deploy', () => post(`/api/projects/${project}/deployments`)),
    button('Dismiss bob', () => ask('DELETE', `/api/projects/${project}/admins/bob`, { token })),
  );
}

const showProjects = act(async () => byId('projects').replaceChildren(...(await ask('GET', '/api/projects')).map(row)));

byId('composer').onsubmit = act(async ({ target }) => {
  watch(await post('/api/projects', { name: target.name.value }));
  target.reset();
  await showProjects();
});
byId('banner-form').onsubmit = act(async ({ target }) => {
  await post('/api/banner', { text: target.text.value });
  target.reset();
});

watch('shop');
await showProjects();
showConnection(connection);
showPeople(['alice', 'bob', 'carol']);
