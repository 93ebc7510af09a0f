// Addresses of replicas.

/**
 * Whether two addresses are one replica: localhost and 127.0.0.1 are.
 * @param {string} a
 * @param {string} b
 */
export function sameReplica(a, b) {
  const canonical = (/** @type {string} */ url) => hostOf(url).replace('localhost', '127.0.0.1');
  return canonical(a) === canonical(b);
}

/** @param {string} url */
export function hostOf(url) {
  return new URL(url).host;
}

/**
 * The replica after this one in the list. Every window knows the same list, so all of them
 * move to the same one, and go on sharing a connection.
 * @param {readonly string[]} urls
 * @param {string} base
 * @returns {string | null} null where there is no other
 */
export function nextReplica(urls, base) {
  const at = urls.findIndex((url) => sameReplica(url, base));
  const next = urls[(at + 1) % urls.length];
  return next && !sameReplica(next, base) ? next : null;
}
