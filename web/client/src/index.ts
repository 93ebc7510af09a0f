export { ApplicationError, connect, GatewayError, TransportError } from './core.js';
export type { ApplicationCode, Problem, TransportCode } from './errors.js';
export type * from './types.js';
