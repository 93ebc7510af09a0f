// The EventSource of Chromium, in a page of the gateway's origin or another one.
import { chromium } from 'playwright-core';

// A new, empty profile each time, and nothing that looks beyond this machine.
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--no-proxy-server',
  ],
});

export const end = () => browser.close();

export async function open({ url, page: address, session, renewed, types, withCredentials }, listener) {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.exposeFunction('told', (kind, ...words) => listener[kind](...words));
  await page.goto(address);
  await page.evaluate(
    async ({ url, session, renewed, types, withCredentials }) => {
      const signIn = async (token) => {
        const made = await fetch(new URL('/v1/session', url), {
          method: 'POST',
          headers: { Authorization: `Bearer ${token}` },
          credentials: 'include',
        });
        if (!made.ok) throw new Error(`no session: ${made.status} ${await made.text()}`);
      };
      if (session) await signIn(session);
      const source = new EventSource(url, { withCredentials });
      for (const type of types) {
        source.addEventListener(type, (e) => window.told('event', e.type, e.lastEventId, e.data));
      }
      source.onerror = () => {
        if (source.readyState === EventSource.CLOSED) window.told('stopped', 'closed');
        else window.told('failed', 'reconnecting');
      };
      if (renewed) source.addEventListener('open', () => signIn(renewed), { once: true });
    },
    { url, session, renewed, types, withCredentials: Boolean(withCredentials) },
  );
  return () => context.close();
}
