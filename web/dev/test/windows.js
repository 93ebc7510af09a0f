// Windows of a real browser that look at the board.

import { existsSync, mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { expect } from 'vitest';
import { until } from '../../client/test/world.ts';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];
const PICTURES = fileURLToPath(new URL('../../artifacts/', import.meta.url));

/** Whether there is a browser to test with. */
export const hasBrowser = existsSync(CHROMIUM);
if (!hasBrowser) console.warn(`NOT TESTED: there is no browser at ${CHROMIUM}; set CHROMIUM`);

export function launch() {
  return chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
}

/** One window. */
export class Window {
  /** What went wrong in it; requests that fail because the test wants it are not among it. @type {string[]} */
  errors = [];

  /** @param {import('playwright-core').Page} page */
  constructor(page) {
    this.page = page;
    page.on('pageerror', (error) => this.errors.push(String(error)));
    page.on('console', (message) => {
      const text = message.text();
      if (message.type() === 'error' && !/Failed to load resource|ERR_/.test(text)) this.errors.push(text);
    });
  }

  /**
   * @param {import('playwright-core').BrowserContext} context
   * @param {string} url
   */
  static async open(context, url) {
    const window = new Window(await context.newPage());
    await window.page.addInitScript(() => {
      globalThis.statuses = [];
      addEventListener('DOMContentLoaded', () => {
        const state = document.getElementById('state');
        new MutationObserver(() => globalThis.statuses.push(state.dataset.state)).observe(state, {
          attributeFilter: ['data-state'],
        });
      });
    });
    await window.page.goto(url);
    await window.is('Live');
    await window.page.locator('#board:not([aria-busy])').waitFor();
    return window;
  }

  /**
   * Waits until the connection is so.
   * @param {string} label
   */
  async is(label) {
    await until(`the page says ${label}`, async () => (await this.page.locator('#state-label').textContent()) === label);
  }

  /** Every state that was shown, the same ones in a row once. @returns {Promise<string[]>} */
  async statuses() {
    const all = await this.page.evaluate(() => globalThis.statuses);
    return all.filter((status, i) => status !== all[i - 1]);
  }

  /**
   * The titles of the cards of a column that begin so.
   * @param {string} status
   * @param {string} start
   */
  async titles(status, start = '') {
    const all = await this.page.locator(`[data-status="${status}"] .card .title`).allTextContents();
    return all.filter((title) => title.startsWith(start));
  }

  /**
   * Waits until a column has these cards, among those whose title begins so.
   * @param {string} status
   * @param {string} start
   * @param {string[]} wanted
   */
  async has(status, start, wanted) {
    await until(`${status} has ${wanted}`, async () => `${await this.titles(status, start)}` === `${wanted}`);
  }

  /**
   * What the log says of events whose text begins so, oldest first.
   * @param {string} start
   */
  async logged(start) {
    const all = await this.page.locator('#log .text').allTextContents();
    return all.filter((text) => text.startsWith(start)).reverse();
  }

  /** @param {string} title */
  card(title) {
    return this.page.locator('.card', { has: this.page.getByText(title, { exact: true }) });
  }

  /**
   * Drags a card with the mouse into another column.
   * @param {string} title
   * @param {string} status
   */
  async drag(title, status) {
    const { mouse } = this.page;
    const handle = this.card(title).locator('.title');
    await handle.hover();
    const [from, to] = [await handle.boundingBox(), await this.page.locator(`[data-status="${status}"]`).boundingBox()];
    await mouse.down();
    await mouse.move(to.x + to.width / 2, from.y + from.height / 2, { steps: 12 }); // columns are equally high
    await this.page.locator(`[data-status="${status}"] .gap`).waitFor();
    await mouse.up();
  }

  /** @param {string} name */
  async picture(name) {
    mkdirSync(PICTURES, { recursive: true });
    await this.page.screenshot({ path: `${PICTURES}${name}.png`, fullPage: true, animations: 'disabled' });
  }

  /** Whether everything fits the width of the window. */
  async fits() {
    const { all, width } = await this.page.evaluate(() => ({
      all: document.documentElement.scrollWidth,
      width: document.documentElement.clientWidth,
    }));
    expect(all).toBeLessThanOrEqual(width);
  }
}
