import { connect } from '@realtime-gateway/client';
import { createOptimistic } from '@realtime-gateway/client/optimistic';
import { act, ask, byId, me, showConnection, showPeople, toast } from '/shared/page.js';
import { changed, reduce, without, withTask } from './board.js';
import { draw } from './view.js';

const path = '/api/projects/42/tasks';

/** A fresh one for every attempt; whoever is not in the project gets one that does not open the board. */
let token = '';
const fetchToken = async () => (token = (await ask('POST', '/api/token', { body: { user: me } })).token);

const connection = connect('/', { token: fetchToken });

// The confirmed tasks, and on them what this window has asked for and not seen come back.
const store = createOptimistic({
  initial: new Map(),
  reduce,
  fetch: async () => {
    const list = await ask('GET', path, { token: token || (await fetchToken()) });
    return new Map(list.tasks.map((task) => [task.id, task]));
  },
});
// The store fetches when the channel comes onto the stream, and after a gap. A reconnect continues where the stream
// stopped, and fetches nothing.
const detach = store.attach(connection, 'project:42:tasks');

/** Shows a change at once, and takes it back where the service refuses it. */
function run(apply, method, to, body) {
  const send = (eventId) => ask(method, to, { body, token, headers: { 'event-id': eventId } });
  store.run({ apply, send }).catch((error) => toast(error.message, 'error'));
}

let proposed = 0; // tasks that have no id yet
const create = (title) => {
  const id = `new-${++proposed}`;
  run((all) => withTask(all, { id, rev: 0, title, status: 'todo', assignee: '' }), 'POST', path, { title });
};
const change = (id, what) => run((all) => changed(all, id, what), 'PATCH', `${path}/${id}`, what);
const remove = (id) => run((all) => without(all, id), 'DELETE', `${path}/${id}`);

// However many events come at once, it is one drawing.
let drawing;
const show = () => {
  drawing ??= requestAnimationFrame(() => {
    drawing = undefined;
    draw(store.getSnapshot(), { change, remove });
  });
};
store.subscribe(show);
show();

byId('composer').onsubmit = act(({ target }) => {
  create(target.title.value.trim());
  target.reset();
});

// Errors of the way show in the head and pass. These do not: the user has to know.
connection.onError((error) => {
  if (error.kind !== 'application') return;
  detach();
  document.querySelector('main').inert = true; // what would be refused is not offered
  byId('banner').hidden = false;
  byId('banner').textContent =
    error.code === 'forbidden' ? `${me} is not in this project. Become somebody else above.` : error.message;
});
showConnection(connection);
showPeople(['alice', 'bob', 'carol']);
