// @vitest-environment happy-dom
import { act, cleanup, render } from '@testing-library/react';
import { type ReactNode, StrictMode } from 'react';
import { hydrateRoot } from 'react-dom/client';
import { renderToString } from 'react-dom/server';
import { afterEach, beforeEach, describe, expect, expectTypeOf, test, vi } from 'vitest';
import { connect, type Fields } from '../src/index.js';
import { createOptimistic } from '../src/optimistic.js';
import { GatewayProvider, useChannel, useConnection, useConnectionState, useOptimisticChannel } from '../src/react.js';
import type { Connection, Gap } from '../src/types.js';
import { FakeGateway, pass } from './fake.js';
import { fakeConnection } from './fake-connection.js';

interface Events {
  task_created: { id: number };
  post: Fields<{ id: string | null }>;
}

afterEach(cleanup);

/** Listens to a channel, and keeps what it hears. */
function Listener({ channel, heard }: { channel: string | null; heard: unknown[] }) {
  useChannel<Events>(channel, (event) => heard.push(event.event_id));
  return null;
}

describe('useChannel', () => {
  test('calls the newest handlers, and subscribes nothing anew for them', () => {
    const fake = fakeConnection<Events>();
    const channel = vi.spyOn(fake.connection, 'channel');
    const heard: string[] = [];
    function Tasks({ by }: { by: string }) {
      useChannel<Events>('tasks', { events: { task_created: (event) => heard.push(`${by} ${event.data.id}`) } });
      return null;
    }
    const at = (by: string) => (
      <GatewayProvider connection={fake.connection}>
        <Tasks by={by} />
      </GatewayProvider>
    );
    const { rerender } = render(at('first'));
    fake.event('tasks', { type: 'task_created', data: { id: 1 } });
    rerender(at('second'));
    fake.event('tasks', { type: 'task_created', data: { id: 2 } });
    fake.event('tasks', { type: 'post', id: null });
    fake.event('others', { type: 'task_created', data: { id: 3 } });
    expect(heard).toEqual(['first 1', 'second 2']);
    expect(channel).toHaveBeenCalledTimes(1);
  });

  test('listens to types that come and go', () => {
    const fake = fakeConnection<Events>();
    const heard: string[] = [];
    function Tasks({ all }: { all: boolean }) {
      useChannel<Events>('tasks', { events: all ? { '*': (event) => heard.push(event.type) } : {} });
      return null;
    }
    const at = (all: boolean) => (
      <GatewayProvider connection={fake.connection}>
        <Tasks all={all} />
      </GatewayProvider>
    );
    const { rerender } = render(at(false));
    expect(fake.connection.channels).toEqual(['tasks']);
    fake.event('tasks', { type: 'post' });
    rerender(at(true));
    fake.event('tasks', { type: 'task_created' });
    expect(heard).toEqual(['task_created']);
  });

  test('tells gaps', () => {
    const fake = fakeConnection();
    const gaps: Gap[] = [];
    function Tasks() {
      useChannel('tasks', { onGap: (gap) => gaps.push(gap) });
      return null;
    }
    render(<Tasks />, { wrapper: ({ children }) => <GatewayProvider {...fake}>{children}</GatewayProvider> });
    fake.gap('tasks');
    fake.gap('others');
    expect(gaps).toMatchObject([{ channel: 'tasks', reason: 'lost' }]);
  });

  test('hears nothing twice in StrictMode, and leaves nothing behind', () => {
    const fake = fakeConnection<Events>();
    const heard: unknown[] = [];
    const { unmount } = render(
      <StrictMode>
        <GatewayProvider connection={fake.connection}>
          <Listener channel="tasks" heard={heard} />
        </GatewayProvider>
      </StrictMode>,
    );
    fake.event('tasks', { type: 'task_created' });
    expect(heard).toEqual(['e1']);
    unmount();
    fake.event('tasks', { type: 'task_created' });
    expect(heard).toEqual(['e1']);
    expect(fake.connection.channels).toEqual([]);
  });

  test('changes the channel', () => {
    const fake = fakeConnection<Events>();
    const heard: unknown[] = [];
    const at = (channel: string | null) => (
      <GatewayProvider connection={fake.connection}>
        <Listener channel={channel} heard={heard} />
      </GatewayProvider>
    );
    const { rerender } = render(at(null));
    expect(fake.connection.channels).toEqual([]);
    rerender(at('a'));
    fake.event('a', { type: 'post' });
    rerender(at('b'));
    fake.event('a', { type: 'post' });
    fake.event('b', { type: 'post' });
    expect(heard).toEqual(['e1', 'e3']);
    expect(fake.connection.channels).toEqual(['b']);
  });

  test('attaches what takes events by itself, once', () => {
    const fake = fakeConnection();
    const end = vi.fn();
    const attachable = { attach: vi.fn(() => end) };
    function Tasks() {
      useChannel('tasks', attachable);
      return null;
    }
    const at = (
      <GatewayProvider connection={fake.connection}>
        <Tasks />
      </GatewayProvider>
    );
    const { rerender, unmount } = render(at);
    rerender(at);
    expect(attachable.attach).toHaveBeenCalledTimes(1);
    expect(attachable.attach).toHaveBeenCalledWith(fake.connection, 'tasks');
    unmount();
    expect(end).toHaveBeenCalledTimes(1);
  });

  test('says what is missing without a provider', () => {
    const report = vi.spyOn(console, 'error').mockImplementation(() => {});
    expect(() => render(<Listener channel="tasks" heard={[]} />)).toThrow(
      'there is no <GatewayProvider> above this component',
    );
    report.mockRestore();
  });

  test('types its events', () => {
    () => {
      useChannel<Events>('tasks', (event) => {
        if (event.type === 'post') expectTypeOf(event.id).toEqualTypeOf<string | null>();
        else expectTypeOf(event.data).toEqualTypeOf<{ id: number }>();
      });
      useChannel<Events>('tasks', {
        events: { post: (event) => expectTypeOf(event.id).toEqualTypeOf<string | null>(), '*': (event) => event.type },
      });
      // @ts-expect-error there is no such type
      useChannel<Events>('tasks', { events: { task_create: () => {} } });
      useChannel('tasks', { events: { anything: (event) => expectTypeOf(event.data).toEqualTypeOf<unknown>() } });
      expectTypeOf(useConnection<Events>()).toEqualTypeOf<Connection<Events> | null>();
    };
  });
});

describe('on a real connection', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** An application that shows pages under one connection. */
  function application() {
    const gateway = new FakeGateway();
    const connection = connect<Events>('http://gateway.test', { fetch: gateway.fetch });
    const heard: unknown[] = [];
    const at = (...channels: string[]) => (
      <StrictMode>
        <GatewayProvider connection={connection}>
          {channels.map((channel, at) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: two may have the same channel
            <Listener key={`${channel} ${at}`} channel={channel} heard={heard} />
          ))}
        </GatewayProvider>
      </StrictMode>
    );
    return { gateway, connection, heard, at };
  }

  test('a page is one request, however many components and channels it has', async () => {
    const { gateway, heard, at } = application();
    render(at('a', 'a', 'b'));
    await pass(100);
    const request = await gateway.request(1);
    expect(request.channels).toEqual(['a', 'b']);
    await request.open();
    await request.event('a', 1);
    expect(heard).toEqual(['e1', 'e1']);
    await pass(10_000);
    await gateway.request(1);
  });

  test('a channel stays through navigation, and leaves a moment after the last component', async () => {
    const { gateway, connection, heard, at } = application();
    const { rerender } = render(at('a', 'b'));
    await pass(100);
    await (await gateway.request(1)).open();

    rerender(at('b')); // the old page is gone
    await pass(500);
    rerender(at('a', 'b')); // the new one is there
    await pass(5000);
    const stream = await gateway.request(1);
    await stream.event('a', 1);
    expect(heard).toEqual(['e1']);

    rerender(at('b'));
    await pass(1500);
    expect((await gateway.request(2)).channels).toEqual(['b']);
    expect(connection.channels).toEqual(['b']);
    connection.close();
  });

  test('a provider makes its connection in the browser, and closes it', async () => {
    const gateway = new FakeGateway();
    const make = vi.fn(() => connect('http://gateway.test', { fetch: gateway.fetch }));
    const heard: unknown[] = [];
    const { unmount } = render(
      <StrictMode>
        <GatewayProvider connection={make}>
          <Listener channel="a" heard={heard} />
        </GatewayProvider>
      </StrictMode>,
    );
    await pass(100);
    const stream = await gateway.request(1);
    await stream.open();
    await stream.event('a', 1);
    expect(heard).toEqual(['e1']);
    unmount();
    expect(stream.aborted).toBe(true);
    for (const { value } of make.mock.results) expect(value.state.status).toBe('closed');
  });
});

describe('useConnectionState', () => {
  function Status() {
    return <p>{useConnectionState().status}</p>;
  }
  const page = (connection: Connection<Events> | (() => Connection<Events>)): ReactNode => (
    <GatewayProvider connection={connection}>
      <Status />
      <Listener channel="tasks" heard={[]} />
    </GatewayProvider>
  );

  test('renders every change', () => {
    const fake = fakeConnection<Events>();
    const { container } = render(page(fake.connection));
    expect(container.textContent).toBe('connecting');
    act(() => fake.state({ status: 'live', reason: '' }));
    expect(container.textContent).toBe('live');
  });

  test('is connecting on a server, where nothing connects, and after hydration what it is', async () => {
    const fake = fakeConnection<Events>();
    fake.state({ status: 'live', reason: '' });
    const make = vi.fn(() => fake.connection);
    const html = renderToString(page(make));
    expect(html).toBe('<p>connecting</p>');
    expect(make).not.toHaveBeenCalled();
    expect(renderToString(page(fake.connection))).toBe(html);
    expect(fake.connection.channels).toEqual([]);

    const container = document.createElement('div');
    container.innerHTML = html;
    const errors: unknown[] = [];
    const root = await act(async () =>
      hydrateRoot(container, page(fake.connection), { onRecoverableError: (error) => errors.push(error) }),
    );
    expect(container.textContent).toBe('live');
    expect(errors).toEqual([]);
    expect(fake.connection.channels).toEqual(['tasks']);
    act(() => root.unmount());
    expect(fake.closed).toBe(0);
  });
});

describe('useOptimisticChannel', () => {
  test('shows a change at once, and the state without it when it fails', async () => {
    const fake = fakeConnection<Events>();
    const store = createOptimistic<readonly number[], Events>({
      initial: [1],
      reduce: (ids, event) => (event.type === 'task_created' ? [...ids, event.data.id] : ids),
    });
    function Board() {
      const { state, pending } = useOptimisticChannel('tasks', store);
      return (
        <p>
          {state.join()} {pending.map(({ status }) => status)}
        </p>
      );
    }
    const { container } = render(
      <StrictMode>
        <GatewayProvider connection={fake.connection}>
          <Board />
          <Board />
        </GatewayProvider>
      </StrictMode>,
    );
    const shown = () => [...container.querySelectorAll('p')].map((p) => p.textContent);
    expect(shown()).toEqual(['1 ', '1 ']);
    let fail = (_: Error): void => {};
    let outcome: Promise<void> | undefined;
    act(() => {
      outcome = store.run({
        apply: (ids) => [...ids, 9],
        send: () => new Promise((_, reject) => (fail = reject)),
      });
    });
    expect(shown()).toEqual(['1,9 sending', '1,9 sending']);
    act(() => fake.event('tasks', { type: 'task_created', data: { id: 2 } }));
    expect(shown()).toEqual(['1,2,9 sending', '1,2,9 sending']);
    await act(async () => {
      fail(new Error('refused'));
      await expect(outcome).rejects.toThrow('refused');
    });
    expect(shown()).toEqual(['1,2 ', '1,2 ']);
  });
});
