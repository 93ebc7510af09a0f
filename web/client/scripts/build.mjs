// Builds dist/: `build.mjs` writes it, `build.mjs --check` builds it twice, compares the two with each
// other and with what is committed, and holds the sizes against their limits.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { minify } from 'terser';

const ENTRIES = [
  ...['core', 'index', 'fallback', 'shared', 'storage', 'worker'],
  ...['react', 'query', 'optimistic', 'optimistic-query'],
];

/** How many bytes, gzipped, an application gets that uses all of an entry. What is loaded on demand is not counted. */
const LIMITS = {
  index: 5 * 1024,
  shared: 9 * 1024,
  react: 1.5 * 1024,
  query: 1.5 * 1024,
  optimistic: 1.75 * 1024,
  'optimistic-query': 2.25 * 1024,
};

const root = new URL('..', import.meta.url);
const path = (name) => new URL(name, root).pathname;

async function bundle(entry, isExternal) {
  const result = await build({
    entryPoints: [path(`src/${entry}.ts`)],
    bundle: true,
    external: ['react'],
    format: 'esm',
    target: 'es2022',
    write: false,
    legalComments: 'none',
    plugins: [
      {
        name: 'entries',
        setup: ({ onResolve }) =>
          onResolve({ filter: /^\.\/\w+\.js$/ }, ({ path: name, kind }) =>
            kind !== 'entry-point' && isExternal(name.slice(2, -3), kind) ? { path: name, external: true } : undefined,
          ),
      },
    ],
  });
  // Unsafe for code that makes symbols text, replaces built-ins or calls methods with `new`; this one does none of it.
  // Not unsafe_comps: comparisons with NaN are meant.
  const options = { passes: 3, ecma: 2022, unsafe: true, unsafe_arrows: true, unsafe_methods: true };
  const { code } = await minify(result.outputFiles[0].text, { module: true, compress: options, mangle: true });
  return `${code}\n`;
}

/** The other entries stay files of their own: what they share is loaded, and defined, once. */
const isEntry = (name) => ENTRIES.includes(name);

/** All files of dist/, by name. */
async function all() {
  return new Map(await Promise.all(ENTRIES.map(async (entry) => [`dist/${entry}.js`, await bundle(entry, isEntry)])));
}

function fail(message) {
  console.error(message);
  process.exitCode = 1;
}

const built = await all();

if (process.argv.includes('--check')) {
  const again = await all();
  for (const [name, code] of built) {
    if (again.get(name) !== code) fail(`${name}: two builds differ`);
    let committed;
    try {
      committed = readFileSync(path(name), 'utf8');
    } catch {}
    if (committed !== code) fail(`${name} is not what src/ makes of it: run npm run build, and commit it`);
  }
} else {
  execFileSync(path('node_modules/.bin/tsc'), ['-p', path('tsconfig.build.json')], { stdio: 'inherit' });
  for (const [name, code] of built) writeFileSync(path(name), code);
}

for (const [entry, limit] of Object.entries(LIMITS)) {
  const whole = await bundle(entry, (_, kind) => kind === 'dynamic-import');
  const size = gzipSync(whole, { level: 9 }).length;
  const line = `@realtime-gateway/client${entry === 'index' ? '' : `/${entry}`}: ${size} bytes gzipped, allowed are ${limit}`;
  if (size > limit) fail(line);
  else console.log(line);
}
