// The service of the cache example: posts, and exactly one event for each write.
import { publish } from '../shared/node/publish.mjs';
import { Problem, serve } from '../shared/node/serve.mjs';

const posts = new Map();
let last = 0;
for (const title of ['Cache invalidation', 'Naming things', 'Off-by-one errors']) add(title);

function add(title) {
  const post = { id: `p${++last}`, title, likes: 0 };
  posts.set(post.id, post);
  return post;
}

function find(id) {
  const post = posts.get(id);
  if (!post) throw new Problem(404, 'The post is gone.');
  return post;
}

/** The one event of a write. Without an id it is about so many posts that naming them would be longer than reading them. */
const changed = (action, id, data) => publish('cache:posts', { type: 'post', action, id, ...(data && { data }) });

serve({
  'GET /api/posts': () => [...posts.values()].map(({ id, title }) => ({ id, title })),
  'GET /api/posts/:id': ({ params }) => find(params.id),

  'POST /api/posts': async ({ body }) => {
    const post = add(String(body.title || 'Untitled').slice(0, 100));
    await changed('create', post.id);
    return post;
  },
  'PATCH /api/posts/:id': async ({ params, body }) => {
    const post = find(params.id);
    if (body.title) post.title = String(body.title).slice(0, 100);
    await changed('update', post.id);
    return post;
  },
  // With the new state in the event nobody has to read it.
  'POST /api/posts/:id/like': async ({ params }) => {
    const post = find(params.id);
    post.likes++;
    await changed('update', post.id, post);
    return post;
  },
  'DELETE /api/posts/:id': async ({ params }) => {
    posts.delete(find(params.id).id);
    await changed('delete', params.id);
  },
  'POST /api/import': async () => {
    for (let i = 0; i < 20; i++) add(`Imported ${last}`);
    await changed('create', null);
  },
  'POST /api/flush': () => publish('cache:posts', { type: 'flush' }),
});
