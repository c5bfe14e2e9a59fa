import { createHash } from 'node:crypto'
import type { ListenerOptions } from '../../../edge/mqtt/entrance/gate.ts'
import { type Derive, writeHash } from '../../../edge/users/password.ts'

/** In scrypt's place: a digest that costs nothing, and counts what was asked of it. */
export interface CheapPasswords {
  derive: Derive
  /** How often a digest was computed, and how many at most at a time. */
  asked: { times: number; atOnceMax: number }
}

const digestOf = (password: string | Buffer, salt: Buffer): Buffer =>
  createHash('sha256').update(salt).update(password).digest()

export function cheapPasswords(): CheapPasswords {
  const asked = { times: 0, atOnceMax: 0 }
  let atOnce = 0
  return {
    asked,
    async derive(password, { salt }) {
      asked.times += 1
      asked.atOnceMax = Math.max(asked.atOnceMax, ++atOnce)
      await new Promise(setImmediate)
      atOnce -= 1
      return digestOf(password, salt)
    },
  }
}

/** As `cheapPasswords` reads it. */
export function cheapHash(password: string): string {
  const salt = Buffer.from(`salt of ${password}`.padEnd(16).slice(0, 16))
  return writeHash({ ln: 14, r: 8, p: 5, salt, digest: digestOf(password, salt) })
}

const at = { host: '127.0.0.1', port: 0 } as const
const webSocket = { path: '/mqtt', origins: ['https://app.example'] }

/** Every kind of listener there is, besides that of certificates over TLS. */
export const furtherListeners = {
  'password over TLS': { ...at, auth: 'password', tls: true },
  'password over TCP': { ...at, auth: 'password', tls: false },
  'certificate over wss': { ...at, auth: 'certificate', tls: true, webSocket },
  'password over wss': { ...at, auth: 'password', tls: true, webSocket },
  'password over ws': { ...at, auth: 'password', tls: false, webSocket },
} satisfies Record<string, ListenerOptions>

export type FurtherListener = keyof typeof furtherListeners
export const kinds = Object.keys(furtherListeners) as FurtherListener[]

/** By what a client reaches a listener. */
export function urlOf({ tls, webSocket }: ListenerOptions, port: number): string {
  const scheme = webSocket ? (tls ? 'wss' : 'ws') : tls ? 'mqtts' : 'mqtt'
  return `${scheme}://127.0.0.1:${port}${webSocket?.path ?? ''}`
}
