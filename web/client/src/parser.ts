/** Gets what a stream says. Sentences in quotes are of WHATWG HTML, 9.2.6. */
export interface ParserSink {
  /** One event: its type (`message` where it names none), its data, and the last event id. */
  event(type: string, data: string, id: string): void;
  /** A reconnection time, in ms. */
  retry(ms: number): void;
}

/**
 * Makes a parser of `text/event-stream`. The function that it returns takes the decoded text in
 * pieces of any size; a `TextDecoder` with `stream: true` has removed the byte order mark and
 * joined characters that were split.
 */
export function createParser(sink: ParserSink): (text: string) => void {
  let rest = '';
  let skipLF = false;
  let type = '';
  let data = '';
  let id = '';

  const line = (text: string): void => {
    if (text === '') {
      // "If the data buffer is an empty string, set the data buffer and the event type buffer to the
      // empty string and return."
      if (data !== '') sink.event(type || 'message', data.slice(0, -1), id);
      type = data = '';
      return;
    }
    const colon = text.indexOf(':');
    const field = colon < 0 ? text : text.slice(0, colon); // of a comment: empty
    // "If value starts with a U+0020 SPACE character, remove it from value."
    const value = colon < 0 ? '' : text.slice(colon + (text[colon + 1] === ' ' ? 2 : 1));
    if (field === 'data') data += `${value}\n`;
    else if (field === 'event') type = value;
    else if (field === 'id') {
      // "If the field value does not contain U+0000 NULL […]. Otherwise, ignore the field."
      if (!value.includes('\0')) id = value;
    } else if (field === 'retry' && /^[0-9]+$/.test(value)) {
      // "If the field value consists of only ASCII digits […]. Otherwise, ignore the field."
      sink.retry(Number(value));
    }
  };

  return (text) => {
    // A CR ends its line at once: waiting for a LF would hold an event back.
    if (skipLF && text !== '') {
      if (text[0] === '\n') text = text.slice(1);
      skipLF = false;
    }
    // What was left has no line end: only the new text is searched, so a long line costs no more.
    const ends = /\r\n?|\n/g;
    let from = 0;
    for (let end = ends.exec(text); end; end = ends.exec(text)) {
      const whole = rest + text.slice(from, end.index);
      rest = '';
      from = ends.lastIndex;
      if (from === text.length && end[0] === '\r') skipLF = true;
      line(whole);
    }
    rest += text.slice(from);
  };
}
