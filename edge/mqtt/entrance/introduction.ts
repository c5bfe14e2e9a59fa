import type { Duplex } from 'node:stream'
import { deviceIdPattern } from '../../../src/contract/event.ts'
import { firstConnect } from '../door/first-packet.ts'
import { PacketError } from '../door/violations.ts'
import { legible } from './identity.ts'
import type { PasswordCheck } from './password-check.ts'
import { Refusal } from './refusal.ts'

/** What is kept of one of which nobody knows yet whose it is: a CONNECT with a will of some kilobytes (G7). */
export const connectBytesMax = 16 * 1024

/** MQTT 3.1.1, 3.2.2.3. */
const returnCodes = { wrongLevel: 1, unavailable: 3, malformed: 4, notAuthorised: 5 } as const

export interface Introduced {
  deviceId: string
  passwordHash: string
}

export interface IntroductionParts {
  passwords: Pick<PasswordCheck, 'check'>
  address: string
  /** Aborted when the connection is over. */
  signal: AbortSignal
  /** Its CONNECT is there: what it waits for from now on is ours. */
  onConnect: () => void
}

/**
 * Reads the CONNECT of a client that has to show a password, and puts it back for the broker once that is its device's: by then the
 * connection is like any other, of a device that is known. The user name is the device ID.
 * @throws Refusal
 */
export async function introduce(
  stream: Duplex,
  { passwords, address, signal, onConnect }: IntroductionParts,
): Promise<Introduced> {
  const { bytes, level, userName, password } = await readConnect(stream)
  onConnect()
  if (level !== 3 && level !== 4)
    throw new Refusal(
      'protocol-version',
      `a protocol level of ${level}, and only MQTT 3.1.1 and 3.1 are spoken here`,
      {
        returnCode: returnCodes.wrongLevel,
      },
    )
  if (userName === undefined || password === undefined)
    throw new Refusal(
      'no-password',
      'this listener asks for a user name, which is the device ID, and a password',
      {
        returnCode: returnCodes.malformed,
      },
    )
  const claimed = legible(userName)
  if (!deviceIdPattern.test(userName))
    throw new Refusal('bad-identity', 'the user name is not a device ID', {
      claimed,
      returnCode: returnCodes.malformed,
    })
  const verdict = await passwords.check({ deviceId: userName, password, address }, signal)
  if (verdict === 'wrong')
    throw new Refusal(
      'wrong-password',
      'the password is not that of the device, or there is no such device',
      {
        claimed,
        returnCode: returnCodes.notAuthorised,
      },
    )
  if (verdict === 'too-often')
    throw new Refusal('password-rate', 'too many passwords from there were wrong; it was not looked at', {
      claimed,
      returnCode: returnCodes.unavailable,
    })
  if (verdict === 'busy')
    throw new Refusal('password-rate', 'too many passwords wait to be looked at; it was not', {
      claimed,
      returnCode: returnCodes.unavailable,
    })
  if (verdict === 'left')
    throw new Refusal('no-connect', 'it has gone before its password was looked at', { claimed })
  // Until a stream has noticed that nobody listens, it tells nobody of what is put back.
  await new Promise(setImmediate)
  stream.unshift(bytes)
  return { deviceId: userName, passwordHash: verdict.passwordHash }
}

type Connect = { bytes: Buffer } & NonNullable<ReturnType<typeof firstConnect>>

/** What stands behind the CONNECT stays with it. @throws Refusal */
function readConnect(stream: Duplex): Promise<Connect> {
  let bytes = Buffer.alloc(0)
  const read = (): Buffer<ArrayBuffer> | null => stream.read() as Buffer<ArrayBuffer> | null
  return new Promise((resolve, reject) => {
    const listeners = { readable: look, end: left, close: left, error: left }
    const settle = (act: () => void): void => {
      for (const [event, listener] of Object.entries(listeners)) stream.off(event, listener)
      act()
    }
    function left(): void {
      settle(() => reject(new Refusal('no-connect', 'it has gone without a whole CONNECT')))
    }
    function look(): void {
      try {
        for (let chunk = read(); chunk !== null; chunk = read()) {
          bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk])
          const head = firstConnect(bytes, connectBytesMax)
          if (head) return settle(() => resolve({ bytes, ...head }))
        }
      } catch (error) {
        settle(() => reject(refusalOf(error)))
      }
    }
    for (const [event, listener] of Object.entries(listeners)) stream.on(event, listener)
    look()
  })
}

function refusalOf(error: unknown): unknown {
  return error instanceof PacketError ? new Refusal('no-connect', error.message) : error
}
