// fetch with the next of the tokens for each attempt, and with the last one ever
// after: who comes back needs one that is still good.
export function fetchWith(tokens = []) {
  const left = [...tokens];
  return (input, init) => {
    const token = left.length > 1 ? left.shift() : left[0];
    const headers = token ? { ...init.headers, Authorization: `Bearer ${token}` } : init.headers;
    return fetch(input, { ...init, headers });
  };
}
