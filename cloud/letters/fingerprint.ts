import { createHash } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { codeOf } from '../../src/errors.ts'

/** What is the same in failures that have one cause. */
export interface Cause {
  /** 16 hex digits. */
  readonly fingerprint: string
  readonly group: string
  readonly code: string
  readonly type: string | undefined
  /** With what differs from event to event left out. */
  readonly message: string
  /** Where it was thrown, as far as that is the consumer's own. */
  readonly frame: string | undefined
}

export interface Failed {
  group: string
  code: string
  type: string | undefined
  message: string
  /** Places, the innermost first, one a line. */
  stack: string | undefined
  /** What names the event: its own are no part of the cause. */
  own: readonly (string | undefined)[]
}

const messageLengthMax = 1_000
const ownLengthMax = 256
const framesMax = 3
const frameLengthMax = 300
/** Of a stack; it is no longer anyway. */
const framesReadMax = 200

/**
 * By what a failure is told from others, the most particular first. Where there are too many causes to be told apart the next is taken:
 * all of a code, and at last all of the group (G7). In time linear in the message, of which 1,000 characters are read.
 */
export function causesOf(failed: Failed): readonly [Cause, Cause, Cause] {
  const { group, code, type, stack } = failed
  const message = generalized(failed.message, failed.own)
  const frames = ownFrames(stack)
  return [
    causeOf({ group, code, type, message, frame: frames[0] }, frames),
    causeOf({ group, code, type: undefined, message: 'further failures with this code', frame: undefined }),
    causeOf({
      group,
      code: codeOf(undefined),
      type: undefined,
      message: 'further failures, with further codes',
      frame: undefined,
    }),
  ]
}

function causeOf(about: Omit<Cause, 'fingerprint'>, frames: readonly string[] = []): Cause {
  const { group, code, type = '', message } = about
  const hash = createHash('sha256').update(JSON.stringify([group, code, type, message, ...frames]))
  return { ...about, fingerprint: hash.digest('hex').slice(0, 16) }
}

/** The message of every event that fails for the same reason. */
export function generalized(message: string, own: readonly (string | undefined)[]): string {
  const names = [...new Set(own)]
    .filter((name): name is string => name !== undefined && name !== '' && name.length <= ownLengthMax)
    .toSorted((one, other) => other.length - one.length)
  const unnamed = names.reduce(withoutName, message.slice(0, messageLengthMax))
  return (
    unnamed
      // Addresses of IPv6 and of network cards may be without a digit.
      .replace(/(?<![0-9a-z:])(?=[0-9a-f]*:[0-9a-f]*:)[0-9a-f:]{2,45}(?![0-9a-z:])/gi, '#')
      .replace(/[0-9a-z]+(-[0-9a-z]+)*/gi, numberless)
      .replace(/#([.:,/+-]+#)+/g, '#')
      .replace(/(^|[\s(=:,])[-+]#/g, '$1#')
      .replace(/\s+/g, ' ')
      .trim()
  )
}

/** Where it stands as a word of its own. */
function withoutName(text: string, name: string): string {
  let rest = ''
  let from = 0
  for (let at = text.indexOf(name); at >= 0; at = text.indexOf(name, at + name.length)) {
    const isWord = !isWordly(text[at - 1]) && !isWordly(text[at + name.length])
    if (!isWord) continue
    rest += `${text.slice(from, at)}<it>`
    from = at + name.length
  }
  return rest + text.slice(from)
}

function isWordly(character: string | undefined): boolean {
  return character !== undefined && /[0-9a-z_]/i.test(character)
}

/**
 * Numbers, UUIDs, ULIDs, times, hexadecimal: whatever has a digit, and beside it what could be hexadecimal; and hexadecimal of 8 and
 * more without one.
 */
function numberless(word: string): string {
  const parts = word.split('-')
  const hasDigit = /\d/.test(word)
  return parts
    .map((part) => {
      const isHex = /^[0-9a-f]+$/i.test(part)
      return /\d/.test(part) || (isHex && (hasDigit || part.length >= 8)) ? '#' : part
    })
    .join('-')
}

const tidegateFolders = ['..', '../../src'].map((folder) =>
  fileURLToPath(new URL(`${folder}/`, import.meta.url)),
)

/** The innermost places that are neither Tidegate's nor a package's, without lines, and without the folder that differs from host to host. */
function ownFrames(stack: string | undefined): string[] {
  if (stack === undefined) return []
  return stack
    .split('\n', framesReadMax)
    .filter((frame) => !/[\\/]node_modules[\\/]|\(?node:|<anonymous>\)?$|^at native/.test(frame))
    .filter((frame) => !tidegateFolders.some((folder) => frame.includes(folder)))
    .slice(0, framesMax)
    .map(placeOf)
}

function placeOf(frame: string): string {
  const open = frame.lastIndexOf('(')
  const [name, where] = open < 0 ? ['', frame] : [frame.slice(0, open), frame.slice(open + 1)]
  const file = where
    .replace(/^at (async )?/, '')
    .replace(/\)$/, '')
    .replace(/(:\d+){1,2}$/, '')
    .replace(/\?.*$/, '')
  return `${name}${file.split(/[\\/]/).slice(-2).join('/')}`.slice(0, frameLengthMax)
}
