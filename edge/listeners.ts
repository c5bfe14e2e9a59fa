import { isIP } from 'node:net'
import { z } from 'zod'
import { isEveryInterface, oneSpelling } from '../src/listen.ts'
import type { ListenerOptions } from './mqtt/entrance/gate.ts'

const path = z.string().regex(/^\/[\w./~-]*$/, 'must be a path such as /mqtt')
const origin = z
  .string()
  .refine(
    (text) => URL.canParse(text) && new URL(text).origin === text,
    'must be the origin of a page, such as https://app.example',
  )

/** One of `mqtt.listeners`: those besides `mqtt.host` and `mqtt.port`, where devices show certificates over TLS. */
export const listener = z
  .strictObject({
    port: z.int().min(0).max(65_535),
    host: z.string().min(1).default('0.0.0.0'),
    auth: z.enum(['certificate', 'password']),
    tls: z.boolean().default(true),
    websocket: z.boolean().default(false),
    path: path.optional(),
    origins: z.array(origin).optional(),
  })
  .superRefine((given, context) => {
    for (const { key, message } of listenerFaults(given))
      context.addIssue({ code: 'custom', path: [key], message })
  })

type Listener = z.output<typeof listener>

function listenerFaults({
  host,
  auth,
  tls,
  websocket,
  ...given
}: Listener): { key: string; message: string }[] {
  const faults: { key: string; message: string }[] = []
  if (!tls && auth === 'certificate')
    faults.push({
      key: 'tls',
      message:
        'must be true with auth: certificate, which is shown in TLS; without TLS there is auth: password',
    })
  else if (!tls && !isNamed(host))
    faults.push({
      key: 'host',
      message: `must name one address of this machine with tls: false, such as 192.168.7.1 or 127.0.0.1: whoever reads along there has the passwords and the readings, so which network that is must be said, and ${host} is not one`,
    })
  for (const key of ['path', 'origins'] as const)
    if (given[key] !== undefined && !websocket) faults.push({ key, message: 'is for websocket: true' })
  return faults
}

/** An address of all interfaces names none: nobody has chosen who reaches a listener there. */
function isNamed(host: string): boolean {
  if (host === 'localhost') return true
  return isIP(host) > 0 && !isEveryInterface(host)
}

/** Of `mqtt`, as far as it says where devices come in. */
interface Listening {
  host: string
  port: number
  listeners: readonly Listener[]
  users?: string | undefined
}

/** What is wrong with all of them together. */
export function listenersFaults(mqtt: Listening): { path: PropertyKey[]; message: string }[] {
  const { host, port, listeners, users } = mqtt
  const faults: { path: PropertyKey[]; message: string }[] = []
  if (users === undefined && listeners.some(({ auth }) => auth === 'password'))
    faults.push({
      path: ['users'],
      message: 'is needed for auth: password: the file that `tidegate devices add` writes',
    })
  const before: { host: string; port: number; name: string }[] = [{ host, port, name: 'mqtt.port' }]
  for (const [index, one] of listeners.entries()) {
    const same = before.find(
      (other) => one.port !== 0 && one.port === other.port && overlap(one.host, other.host),
    )
    if (same)
      faults.push({
        path: ['listeners', index, 'port'],
        message: `must not be ${one.port}, which is ${same.name} already; mqtt.listeners are those besides it`,
      })
    before.push({ ...one, name: `that of mqtt.listeners[${index}]` })
  }
  return faults
}

function overlap(one: string, other: string): boolean {
  return oneSpelling(one) === oneSpelling(other) || isEveryInterface(one) || isEveryInterface(other)
}

export interface NamedListener extends ListenerOptions {
  /** As it stands in the configuration. */
  key: string
}

/** What is to be said of a listener without TLS that others reach. */
export function inClear({ host }: Pick<NamedListener, 'host'>): string {
  return `passwords and readings go in clear there: whoever reads along on the network of ${host} has them`
}

/** All of them, the one of `mqtt.host` and `mqtt.port` first. */
export function listenersOf({ mqtt: { host, port, listeners } }: { mqtt: Listening }): NamedListener[] {
  const first: NamedListener = { key: 'mqtt.port', host, port, auth: 'certificate', tls: true }
  const others = listeners.map(
    ({ websocket, path = '/mqtt', origins = [], ...one }, index): NamedListener => ({
      ...one,
      key: `mqtt.listeners[${index}]`,
      webSocket: websocket ? { path, origins } : undefined,
    }),
  )
  return [first, ...others]
}
