import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';

const path = (name: string): string => new URL(`../${name}`, import.meta.url).pathname;
const directory = path('node_modules/.readme');
/** The sections whose examples stand by themselves. */
const SECTIONS = ['React', 'TanStack Query', 'Optimistic updates'];
const sections = readFileSync(path('README.md'), 'utf8')
  .split(/^## /m)
  .filter((section) => SECTIONS.includes(section.split('\n', 1)[0] as string));

afterAll(() => rmSync(directory, { recursive: true, force: true }));

test('the examples are complete, and have the right types', { timeout: 60_000 }, () => {
  // Each section by itself: an application registers its events once.
  const projects = sections.map((section, at) => {
    const examples = [...section.matchAll(/^```(tsx?)\n(.*?)^```/gms)];
    const project = `${directory}/${at}`;
    mkdirSync(project, { recursive: true });
    examples.forEach(([, extension, code], n) => {
      writeFileSync(`${project}/example${n}.${extension}`, code as string);
    });
    const entries = Object.keys(JSON.parse(readFileSync(path('package.json'), 'utf8')).exports);
    const paths = entries.map((entry) => [
      `@realtime-gateway/client${entry.slice(1)}`,
      [path(`src/${entry.slice(2) || 'index'}.ts`)],
    ]);
    const options = { extends: path('tsconfig.json'), compilerOptions: { paths: Object.fromEntries(paths) } };
    writeFileSync(`${project}/tsconfig.json`, JSON.stringify({ ...options, include: ['.'] }));
    writeFileSync(`${project}/package.json`, '{"type":"module"}');
    expect(examples.length).toBeGreaterThan(0);
    return project;
  });
  expect(projects).toHaveLength(SECTIONS.length);
  expect(projects.map(typeErrors).join('')).toBe('');
});

/** What tsc says. */
function typeErrors(project: string): string {
  try {
    execFileSync(path('node_modules/.bin/tsc'), ['-p', project], { encoding: 'utf8' });
    return '';
  } catch (error) {
    return (error as { stdout: string }).stdout;
  }
}
