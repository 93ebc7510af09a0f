import { connect } from '@realtime-gateway/client';
import { invalidationRules } from '@realtime-gateway/client/query';
import { QueryClient, QueryObserver } from '@tanstack/query-core';
import { act, ask, byId, el, showConnection } from '/shared/page.js';

/** Nothing is stale by its age: events say when it is. */
const queryClient = new QueryClient({ defaultOptions: { queries: { staleTime: Number.POSITIVE_INFINITY } } });

// The rules: which queries an event is about. A key ends before its first null, so without an id it is all posts.
const rules = invalidationRules(queryClient, [
  {
    type: 'post',
    all: [['posts']],
    keys: ({ id }) => [
      ['posts', id],
      ['posts', 'list'],
    ],
    apply: ({ action, id, data }) => {
      if (action !== 'update' || !data) return false;
      queryClient.setQueryData(['posts', id], data); // the event has it all: nothing to read
      return true;
    },
  },
]);

const connection = connect('/');
rules.attach(connection, 'cache:posts');
connection.channel('cache:posts').on('*', ({ type, action, id }) => {
  byId('last').textContent = [type, action, id].filter((part) => part !== undefined).join(' ');
});

/** How often each query was asked for, to be looked at. */
const requests = new Map();
async function read(key, path) {
  requests.set(key, (requests.get(key) ?? 0) + 1);
  byId('reads').replaceChildren(
    ...[...requests].map(([name, n]) =>
      el('tr', { 'data-query': name }, el('td', {}, el('code', {}, name)), el('td', {}, String(n))),
    ),
  );
  return ask('GET', path);
}

/** Shows the answer of a query, and of each time it is asked for again. */
function observe(queryKey, path, show) {
  const observer = new QueryObserver(queryClient, {
    queryKey,
    queryFn: () => read(queryKey.join(' '), path),
    retry: false,
  });
  return observer.subscribe(({ data, error }) => (error ? show(null) : data && show(data)));
}

let unobserve;
function select(id) {
  unobserve?.();
  unobserve = observe(['posts', id], `/api/posts/${id}`, showPost);
}

function showPost(post) {
  if (!post) return byId('post').replaceChildren(el('p', { className: 'soft' }, 'The post is gone.'));
  const { id, title, likes } = post;
  const button = (text, onclick) => el('button', { className: 'small', type: 'button', onclick: act(onclick) }, text);
  byId('post').replaceChildren(
    el(
      'p',
      { className: 'item', 'data-likes': likes },
      el('span', {}, title),
      el('span', { className: 'tag' }, `${likes} ${likes === 1 ? 'like' : 'likes'}`),
    ),
    el(
      'div',
      { className: 'row' },
      button('Like', () => ask('POST', `/api/posts/${id}/like`)),
      button('Rename', () => ask('PATCH', `/api/posts/${id}`, { body: { title: `${title.replace(/!+$/, '')}!` } })),
      button('Delete', () => ask('DELETE', `/api/posts/${id}`)),
    ),
  );
}

observe(['posts', 'list'], '/api/posts', (list) =>
  byId('list').replaceChildren(
    ...list.map(({ id, title }) =>
      el(
        'li',
        { className: 'item', 'data-id': id },
        el('span', {}, title),
        el('button', { className: 'small', type: 'button', onclick: () => select(id) }, 'Open'),
      ),
    ),
  ),
);

byId('composer').onsubmit = act(async ({ target }) => {
  await ask('POST', '/api/posts', { body: { title: target.title.value } });
  target.reset();
});
byId('import').onclick = act(() => ask('POST', '/api/import'));
byId('flush').onclick = act(() => ask('POST', '/api/flush'));
showConnection(connection);
select('p1');
