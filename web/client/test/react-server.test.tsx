import { renderToString } from 'react-dom/server';
import { expect, test } from 'vitest';
import { connect } from '../src/index.js';
import { GatewayProvider, useChannel, useConnectionState } from '../src/react.js';

test('renders where there is no window', () => {
  expect(typeof window).toBe('undefined');
  function Page() {
    useChannel('tasks', () => {});
    return useConnectionState().status;
  }
  const html = renderToString(
    <GatewayProvider connection={() => connect('/')}>
      <Page />
    </GatewayProvider>,
  );
  expect(html).toBe('connecting');
});
