// Tokens, for the Node services of the examples.
import { jwtVerify, SignJWT } from 'jose';
import { Problem } from './serve.mjs';

const secret = new TextEncoder().encode(process.env.TOKEN_SECRET);

/**
 * Signs a token of 10 minutes, with the secret that the gateway knows as GATEWAY_JWT_SECRET. `iat` has fractions, so
 * that a token signed in the second of a force logout is known to be later.
 */
export function sign(user, subscribe = [], claims = {}) {
  const now = Date.now() / 1000;
  return new SignJWT({ ...claims, sub: user, iat: now, exp: now + 600, gateway: { subscribe } })
    .setProtectedHeader({ alg: 'HS256' })
    .sign(secret);
}

/** Returns whose token a request has as `Authorization: Bearer`. */
export async function userOf(request) {
  const token = request.headers.authorization?.replace(/^Bearer /, '') ?? '';
  try {
    const { payload } = await jwtVerify(token, secret, { algorithms: ['HS256'] });
    return payload.sub;
  } catch {
    throw new Problem(401, 'Sign in first.');
  }
}
