// Package heads refuses HTTP/1 requests of which two servers could disagree
// where they end: what one takes for a body is a request to the other (request
// smuggling).
//
// net/http is lenient where RFC 9112 lets it be: of Content-Length beside
// Transfer-Encoding it drops the first without telling, it takes a bare LF for
// the end of a line, unfolds folded lines, and ignores Transfer-Encoding in
// HTTP/1.0. A connection of Guard looks at the heads that go through it, and
// fails to be read with such a one; net/http answers that with 400 and closes.
//
// It counts bytes of bodies that have a length, so that it knows where the next
// head begins. Behind a chunked body it no longer looks: the server has to close
// the connection after answering such a request.
package heads
