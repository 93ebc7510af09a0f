import { expectTypeOf, test } from 'vitest';
import { type AnyEvent, connect, type Fields } from '../src/index.js';

interface Events {
  task_created: { id: number; title: string };
  post: Fields<{ action: 'create' | 'update' | 'delete'; id: string | null }>;
}

interface Inbox {
  mail: string;
}

// tsc is what fails here.
test('events have the types that the application gives them', () => {
  const connection = connect<Events>('http://gateway.test', { signal: AbortSignal.abort() });
  connection.on('task_created', (event) => {
    expectTypeOf(event.type).toEqualTypeOf<'task_created'>();
    expectTypeOf(event.data).toEqualTypeOf<{ id: number; title: string }>();
    expectTypeOf(event.channel).toEqualTypeOf<string>();
  });
  connection.channel('a').on('post', (event) => {
    expectTypeOf(event.action).toEqualTypeOf<'create' | 'update' | 'delete'>();
    expectTypeOf(event.id).toEqualTypeOf<string | null>();
    // @ts-expect-error its fields are not in data
    event.data;
  });
  connection.on('*', (event) => {
    expectTypeOf(event).toEqualTypeOf<AnyEvent<Events>>();
    if (event.type === 'task_created') expectTypeOf(event.data.title).toEqualTypeOf<string>();
  });
  connection.channel<Inbox>('inbox').on('mail', (event) => expectTypeOf(event.data).toEqualTypeOf<string>());
  // @ts-expect-error there is no such type
  connection.on('task_create', () => {});
  // @ts-expect-error it is not writable
  connection.on('task_created', (event) => (event.event_id = ''));

  const untyped = connect('http://gateway.test', { signal: AbortSignal.abort() });
  untyped.on('anything', (event) => expectTypeOf(event.data).toEqualTypeOf<unknown>());
  untyped.on('*', (event) => expectTypeOf(event.type).toEqualTypeOf<string>());
});
