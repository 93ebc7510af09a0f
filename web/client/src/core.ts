/** What the entries of the package are made of: once, so that errors are of one class. */
export { connect } from './connection.js';
export { ApplicationError, GatewayError, TransportError } from './errors.js';
export { createSurface } from './surface.js';
export { broken, endpoint, parse, send, urlOf } from './transport.js';
