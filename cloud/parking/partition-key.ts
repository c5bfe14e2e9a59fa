const quote = 0x22
const backslash = 0x5c
const colon = 0x3a
const comma = 0x2c
const [openObject, closeObject, openList, closeList] = [0x7b, 0x7d, 0x5b, 0x5d]
const name = Buffer.from('partitionkey')

/**
 * The device that an event's text is about, without decoding it: its first member `partitionkey`, wherever that stands among the others
 * of the event, and none within them. Undefined: it has none, or is no JSON object as far as that was read. What it answers is not
 * believed; it is the device of whatever `decodeEvent` takes that names it once and without escapes, as every gateway does.
 */
export function partitionKeyOf(text: Buffer): string | undefined {
  let at = skipSpace(text, 0)
  if (text[at] !== openObject) return undefined
  for (;;) {
    const start = skipSpace(text, at + 1)
    if (text[start] !== quote) return undefined
    const end = endOfString(text, start)
    at = skipSpace(text, end)
    if (text[at] !== colon) return undefined
    at = skipSpace(text, at + 1)
    if (end - start - 2 === name.length && text.compare(name, 0, name.length, start + 1, end - 1) === 0)
      return text[at] === quote ? text.toString('latin1', at + 1, endOfString(text, at) - 1) : undefined
    at = skipSpace(text, endOfValue(text, at))
    if (text[at] !== comma) return undefined
  }
}

function skipSpace(text: Buffer, from: number): number {
  let at = from
  for (let byte = text[at]; byte === 0x20 || (byte !== undefined && byte >= 0x09 && byte <= 0x0d);)
    byte = text[++at]
  return at
}

/** Behind its closing quote, or behind the text. */
function endOfString(text: Buffer, start: number): number {
  let at = start + 1
  for (; at < text.length && text[at] !== quote; at++) if (text[at] === backslash) at++
  return at + 1
}

/** Of a value of whatever kind, or behind the text. */
function endOfValue(text: Buffer, start: number): number {
  let depth = 0
  for (let at = start; at < text.length; at++) {
    const byte = text[at]
    if (byte === quote) {
      at = endOfString(text, at) - 1
      if (depth === 0) return at + 1
    } else if (byte === openObject || byte === openList) depth++
    else if (byte === closeObject || byte === closeList) {
      if (depth <= 1) return depth === 0 ? at : at + 1
      depth--
    } else if (byte === comma && depth === 0) return at
  }
  return text.length
}
