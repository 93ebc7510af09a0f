import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createParser } from '../src/parser.js';

type Said = [type: string, data: string, id: string] | number;

/** What a parser says of bytes that arrive in these pieces. */
function parse(pieces: readonly Uint8Array[]): Said[] {
  const said: Said[] = [];
  const decoder = new TextDecoder();
  const feed = createParser({ event: (...event) => said.push(event), retry: (ms) => said.push(ms) });
  for (const piece of pieces) feed(decoder.decode(piece, { stream: true }));
  return said;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('a stream', () => {
  const table: [name: string, text: string, ...said: Said[]][] = [
    ['an event', 'event: a\ndata: x\nid: 1\n\n', ['a', 'x', '1']],
    ['CR', 'event: a\rdata: x\rid: 1\r\r', ['a', 'x', '1']],
    ['CRLF', 'event: a\r\ndata: x\r\nid: 1\r\n\r\n', ['a', 'x', '1']],
    [
      'line ends of all kinds',
      'data: x\ndata: y\rdata: z\r\n\ndata: 2\r\r\n',
      ['message', 'x\ny\nz', ''],
      ['message', '2', ''],
    ],
    ['a byte order mark', '\uFEFFdata: x\n\n', ['message', 'x', '']],
    ['a byte order mark further on', 'data: x\n\n\uFEFFdata: y\n\n', ['message', 'x', '']],
    ['no event name', 'data: x\n\n', ['message', 'x', '']],
    ['an event name is for one event', 'event: a\ndata: x\n\ndata: y\n\n', ['a', 'x', ''], ['message', 'y', '']],
    ['an event name without data', 'event: a\n\ndata: y\n\n', ['message', 'y', '']],
    ['an id stays', 'id: 1\ndata: x\n\ndata: y\n\n', ['message', 'x', '1'], ['message', 'y', '1']],
    ['an id without data', 'id: 1\n\ndata: y\n\n', ['message', 'y', '1']],
    ['an empty id', 'id: 1\ndata: x\n\nid\ndata: y\n\n', ['message', 'x', '1'], ['message', 'y', '']],
    ['an id with NUL', 'id: 1\nid: 2\0\ndata: x\n\n', ['message', 'x', '1']],
    ['retry', 'retry: 10\nretry:20\n', 10, 20],
    ['retry that is no number', 'retry: 1.5\nretry: -1\nretry: x\nretry:\nretry:  5\nretry: 5 \nretry: ١\n'],
    ['comments', ':\n: x\n:data: y\ndata: z\n\n', ['message', 'z', '']],
    ['one space is removed', 'data:  x\ndata:y\n\n', ['message', ' x\ny', '']],
    ['a field without colon', 'data\ndata\n\n', ['message', '\n', '']],
    ['empty data', 'data:\n\n', ['message', '', '']],
    ['colons in a value', 'data: a:b: c\n\n', ['message', 'a:b: c', '']],
    ['unknown fields and cases', 'Data: x\n data: y\nfoo: z\ndata: 1\n\n', ['message', '1', '']],
    ['what has no empty line behind it', 'data: x\n\ndata: y\n', ['message', 'x', '']],
    ['long characters', 'data: é€😀\n\n', ['message', 'é€😀', '']],
  ];
  test.each(table)('%s', (_, text, ...said) => {
    expect(parse([bytes(text)])).toEqual(said);
    expect(parse([...bytes(text)].map((byte) => Uint8Array.of(byte)))).toEqual(said);
  });

  test('says the same however it is cut', () => {
    const piece = fc.constantFrom(
      '\n',
      '\r',
      '\r\n',
      '\n\n',
      ':',
      ' ',
      'data',
      'data: ',
      'event: a',
      'id: 7',
      'id: \0',
      'retry: 3',
      'é€😀',
      '\uFEFF',
      'x',
    );
    const stream = fc.array(piece, { maxLength: 40 }).map((pieces) => bytes(pieces.join('')));
    fc.assert(
      fc.property(stream, fc.array(fc.nat(200), { maxLength: 20 }), (whole, cuts) => {
        const at = [0, ...cuts.map((cut) => cut % (whole.length + 1)).sort((a, b) => a - b), whole.length];
        const pieces = at.slice(1).map((end, i) => whole.subarray(at[i], end));
        expect(parse(pieces)).toEqual(parse([whole]));
      }),
      { numRuns: 2000 },
    );
  });

  test('ends an event with the line end, and waits for nothing behind it', () => {
    expect(parse([bytes('data: x\r\r')])).toEqual([['message', 'x', '']]);
  });
});
