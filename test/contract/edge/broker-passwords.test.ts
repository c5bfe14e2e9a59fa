import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { connect as connectTcp, type Socket } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { ListenerOptions } from '../../../edge/mqtt/entrance/gate.ts'
import { hashPassword } from '../../../edge/users/password.ts'
import { connect as connectPacket, publish, text } from '../../support/edge/mqtt-bytes.ts'
import { cheapHash, cheapPasswords, type CheapPasswords } from '../../support/edge/passwords.ts'
import { writeUsers } from '../../support/edge/write-users.ts'
import { type TestBroker, type TestBrokerOptions, useTestBrokers } from '../../support/edge/test-broker.ts'
import { FakeClock } from '../../support/fakes/clock.ts'

const { pki, start } = useTestBrokers()
const inClear: ListenerOptions = { host: '127.0.0.1', port: 0, auth: 'password', tls: false }

interface Place extends TestBroker {
  asked: CheapPasswords['asked']
  usersFile: string
  clearPort: number
}

let files = 0

async function startClear(
  passwords: Readonly<Record<string, string>>,
  { options, ...given }: TestBrokerOptions = {},
  denied?: string,
): Promise<Place> {
  const usersFile = await writeUsers(join(pki.folder, `passwords-${++files}.yaml`), passwords)
  const { derive, asked } = cheapPasswords()
  const broker = await start({
    files: { ca: pki.caFile, cert: pki.edge.certFile, key: pki.edge.keyFile, users: usersFile, denied },
    listeners: [inClear],
    options: { derive, ...options },
    ...given,
  })
  return { ...broker, asked, usersFile, clearPort: broker.broker.ports[1] as number }
}

const login = (user?: string, password?: string | Buffer, more: object = {}): Buffer => {
  const rest = [
    ...(user === undefined ? [] : [text(user)]),
    ...(password === undefined ? [] : [text(password)]),
  ]
  const flags = 2 | (user === undefined ? 0 : 0x80) | (password === undefined ? 0 : 0x40)
  return connectPacket({ flags, rest, clientId: 'c', ...more })
}

/** Sends bytes, and gives what comes first, or nothing when the connection ends before. */
async function ask(port: number, bytes: Buffer): Promise<{ socket: Socket; answer: string }> {
  const socket = connectTcp({ port, host: '127.0.0.1' }, () => socket.write(bytes))
  socket.on('error', () => {})
  let answer = ''
  socket.on('data', (chunk: Buffer) => (answer += chunk.toString('hex')))
  await Promise.race([once(socket, 'data'), once(socket, 'close')])
  return { socket, answer }
}

/** MQTT 3.1.1, 3.2. */
const connack = (code: number): string => `2002000${code}`

test.each([
  ['its password', login('a1', 'right'), 0, undefined],
  ['another password', login('a1', 'wrong'), 5, 'wrong-password'],
  ['the password of another', login('a2', 'right'), 5, 'wrong-password'],
  ['an empty password', login('a1', ''), 5, 'wrong-password'],
  ['a name that nobody has', login('nobody', 'right'), 5, 'wrong-password'],
  ['a name that is no device ID', login('a/1', 'right'), 4, 'bad-identity'],
  ['no user name', login(), 4, 'no-password'],
  ['no password', login('a1'), 4, 'no-password'],
  ['MQTT 5', login('a1', 'right', { level: 5 }), 1, 'protocol-version'],
])('a device with %s is answered with a CONNACK that says so', async (_, bytes, code, reason) => {
  const { clearPort, seen, when } = await startClear({ a1: 'right', a2: 'other' })
  const { socket, answer } = await ask(clearPort, bytes)
  expect(answer).toBe(connack(code))
  const refused = reason === undefined ? [] : [reason]
  await when((now) => now.refused.length === refused.length)
  expect(seen.refused).toEqual(refused)
  if (reason !== undefined && !socket.destroyed) await once(socket, 'close')
  expect(JSON.stringify(seen.logs)).not.toContain('right')
  socket.destroy()
})

test.each([
  ['another packet', publish('a', 'b')],
  ['a request of HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
  ['a CONNECT that is longer than one may be', Buffer.from('10ffff7f', 'hex')],
  ['a length that has no end', Buffer.from('10ffffffff', 'hex')],
  ['a CONNECT that is none', Buffer.from('1002aaaa', 'hex')],
])('who begins with %s is turned away, and nothing is answered', async (_, bytes) => {
  const { clearPort, seen, when } = await startClear({ a1: 'right' })
  const { answer } = await ask(clearPort, bytes)
  expect(answer).toBe('')
  await when(({ refused }) => refused.length > 0)
  expect(seen.refused).toEqual(['no-connect'])
})

test('a CONNECT that comes byte by byte, with publishes behind it, is read as it was sent', async () => {
  const { clearPort, outbox } = await startClear({ a1: 'right' })
  const event = publish('devices/a1/events/com.acme.climate', '{"temperature":1}', 1, 7)
  const bytes = Buffer.concat([login('a1', 'right'), event, event.subarray(0, 5)])
  const socket = connectTcp({ port: clearPort, host: '127.0.0.1' })
  socket.setNoDelay(true)
  let answer = ''
  socket.on('data', (chunk: Buffer) => (answer += chunk.toString('hex')))
  for (const byte of bytes) {
    socket.write(Buffer.of(byte))
    await new Promise(setImmediate)
  }
  await outbox.until(1)
  while (answer.length < 16) await once(socket, 'data')
  expect(answer).toBe('2002000040020007')
  socket.destroy()
})

test('who says nothing, or not all of it, is gone when its time is over', async () => {
  const { clearPort, seen, when } = await startClear(
    { a1: 'right' },
    { options: { handshakeTimeoutMs: 100 } },
  )
  const silent = await ask(clearPort, Buffer.alloc(0))
  const slow = await ask(clearPort, login('a1', 'right').subarray(0, 20))
  await when(({ refused }) => refused.length === 2)
  expect(seen.refused).toEqual(['no-connect', 'no-connect'])
  expect([silent.answer, slow.answer]).toEqual(['', ''])
})

test('a device whose password is taken away or replaced while it is connected is cut off, and no other', async () => {
  const clock = new FakeClock(Date.now())
  const place = await startClear({ a1: 'one', a2: 'two', a3: 'three' }, { options: { clock } })
  const { clearPort, usersFile, seen } = place
  const enter = async (name: string, password: string): Promise<Socket> => {
    const { socket, answer } = await ask(
      clearPort,
      login(name, password, { keepAliveSeconds: 0, clientId: name }),
    )
    expect(answer).toBe(connack(0))
    return socket
  }
  const [removed, replaced, kept] = [
    await enter('a1', 'one'),
    await enter('a2', 'two'),
    await enter('a3', 'three'),
  ]
  await writeUsers(usersFile, { a2: 'another', a3: 'three' })
  await clock.until(() => seen.reloads.length > 0)
  for (const socket of [removed, replaced]) if (!socket.destroyed) await once(socket, 'close')
  expect(seen.ended).toEqual(['password-withdrawn', 'password-withdrawn'])
  expect(kept.destroyed).toBe(false)
  // What was right before is remembered, and counts no more.
  expect((await ask(clearPort, login('a1', 'one'))).answer).toBe(connack(5))
  expect((await ask(clearPort, login('a2', 'two'))).answer).toBe(connack(5))
  await enter('a2', 'another')
  kept.destroy()
})

test('of a faulty file what was in force stays, and no line of it is told', async () => {
  const clock = new FakeClock(Date.now())
  const { clearPort, usersFile, seen, trust } = await startClear({ a1: 'one' }, { options: { clock } })
  await writeFile(usersFile, `${await readFile(usersFile, 'utf8')}a2: secret-of-a2\n`)
  await clock.until(() => seen.reloads.length > 0)
  expect(seen.reloads).toEqual(['failed'])
  expect([...trust.faulty]).toEqual(['users'])
  expect(JSON.stringify(seen.logs)).toContain('line 3: it is not `ID: hash`')
  expect(JSON.stringify(seen.logs)).not.toContain('secret-of-a2')
  const { answer, socket } = await ask(clearPort, login('a1', 'one'))
  expect(answer).toBe(connack(0))
  socket.destroy()
})

test('who is denied does not come in by a password either', async () => {
  const denied = join(pki.folder, 'denied-passwords.txt')
  await writeFile(denied, 'device a1\nend\n')
  const { clearPort, seen } = await startClear({ a1: 'one', a2: 'two' }, {}, denied)
  expect((await ask(clearPort, login('a1', 'one'))).answer).toBe(connack(5))
  expect(seen.refused).toEqual(['denied'])
  const { answer, socket } = await ask(clearPort, login('a2', 'two'))
  expect(answer).toBe(connack(0))
  socket.destroy()
})

test('the hash that `tidegate devices` writes lets its password in', async () => {
  const usersFile = join(pki.folder, 'scrypt.yaml')
  await writeFile(usersFile, `a1: ${await hashPassword('k7m29-xqf0a')}\n`)
  const broker = await start({
    files: { ca: pki.caFile, cert: pki.edge.certFile, key: pki.edge.keyFile, users: usersFile },
    listeners: [{ ...inClear, tls: true }],
  })
  const [, port] = broker.broker.ports
  const { ca } = await pki.device('a1')
  const options = { port: port as number, username: 'a1' }
  const client = await broker.connect({ ca }, { ...options, password: 'k7m29-xqf0a' })
  expect(client.connected).toBe(true)
  await expect(broker.connect({ ca }, { ...options, password: 'k7m29-xqf0b' })).rejects.toThrow(
    /Not authorized/i,
  )
})

test('a thousand wrong passwords from one address cost twenty digests, one at a time, and others go on meanwhile (G7)', async () => {
  const fleet = Object.fromEntries(
    Array.from({ length: 100 }, (_, index) => [`d-${index}`, `right-${index}`]),
  )
  const clock = new FakeClock(Date.now())
  const options = { clock, connectionsMax: 2000, handshakesMax: 2000 }
  const { clearPort, asked, outbox, seen, when, connect } = await startClear(fleet, { options })
  const enter = (name: string, password: string) =>
    ask(clearPort, login(name, password, { clientId: name, keepAliveSeconds: 0 }))
  const devices = await Promise.all(Object.entries(fleet).map(([name, password]) => enter(name, password)))
  expect(new Set(devices.map(({ answer }) => answer))).toEqual(new Set([connack(0)]))
  expect(asked).toEqual({ times: 100, atOnceMax: 1 })
  const other = await connect(await pki.device('a1'))

  const guesses = Array.from({ length: 1000 }, (_, index) =>
    enter(index % 2 === 0 ? 'd-1' : `x-${index}`, randomBytes(8).toString('hex')),
  )
  for (const [index, { socket }] of devices.entries())
    socket.write(publish(`devices/d-${index}/events/com.acme.climate`, '{"temperature":1}', 1, 1))
  await other.publishAsync('devices/a1/events/com.acme.climate', '{"temperature":1}', { qos: 1 })
  await outbox.until(101)
  const answers = (await Promise.all(guesses)).map(({ answer }) => answer)
  await when(({ refused }) => refused.length >= 1000)

  const wrong = seen.refused.filter((reason) => reason === 'wrong-password').length
  expect(wrong).toBeLessThanOrEqual(20)
  expect(asked).toEqual({ times: 100 + wrong, atOnceMax: 1 })
  expect(seen.refused.filter((reason) => reason === 'password-rate')).toHaveLength(1000 - wrong)
  expect(new Set(answers)).toEqual(new Set([connack(5), connack(3)]))
  // A device that was let in before comes back at once, from the same address; of that whose name was guessed at a tenth of a second later.
  for (const index of [1, 2]) devices[index]?.socket.destroy()
  const unharmed = await enter('d-2', 'right-2')
  expect(unharmed.answer).toBe(connack(0))
  await clock.advance(100)
  const { answer, socket } = await enter('d-1', 'right-1')
  expect(answer).toBe(connack(0))
  expect(asked.times).toBe(100 + wrong)
  for (const one of [...devices, unharmed, { socket }]) one.socket.destroy()
})

test('a refused password is logged once a while, with the name that was given, and without the password', async () => {
  const { clearPort, seen, when } = await startClear({ a1: 'right' })
  for (let time = 0; time < 3; time += 1) await ask(clearPort, login('a1', 'my-secret'))
  await ask(clearPort, login('a1', cheapHash('right')))
  await when(({ refused }) => refused.length === 4)
  const lines = seen.logs.filter(({ reason }) => reason === 'wrong-password')
  expect(lines).toMatchObject([{ claimed: 'a1', address: '127.0.0.1' }])
  expect(JSON.stringify(seen.logs)).not.toMatch(/my-secret|scrypt/)
})
