import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import { type Delivery, readAttempt } from '../../../cloud/amqp/delivery.ts'
import { deadLetterOf } from '../../../cloud/letters/dead-letters.ts'
import { createFailureLog } from '../../../cloud/letters/failure-log.ts'
import { mirrorLetter, retryLetter } from '../../../cloud/letters/letters.ts'
import { listed, readFailures } from '../../../cloud/letters/story.ts'
import { headers } from '../../../src/contract/wire.ts'
import { codeOf, TidegateError } from '../../../src/errors.ts'
import { FakeClock } from '../../support/fakes/clock.ts'
import { deliveryOf } from '../../support/fakes/delivery.ts'

const delivery = (more: Partial<Delivery> = {}): Delivery =>
  deliveryOf({ text: Buffer.from('x'), properties: { messageId: 'm' }, ...more })

const failing = (more: Partial<Delivery>, thrown: unknown = new Error('bad')) => ({
  delivery: delivery(more),
  error: thrown,
  group: 'g',
  instance: 'i',
  nowMs: 1000,
})

/** A story of one failure with a message of this length. */
const told = (length: number): Record<string, unknown> => ({
  [headers.failures]: JSON.stringify([{ attempt: 1, at: 'a', code: 'C', message: 'm'.repeat(length) }]),
})

const thrown = (code: unknown): Error => Object.assign(new Error('bad'), { code })

describe('a code', () => {
  const canary = 'cAnArY-7f3e91'

  test('that is none, but what a device sent, is in no letter, no header and no column that is for all', () => {
    const header = JSON.stringify([{ attempt: 1, at: 'a', code: canary, message: 'm' }])
    const dying = {
      ...failing({ headers: { [headers.failures]: header } }, thrown(canary)),
      event: undefined,
      version: undefined,
    }
    const { code, causes, failures } = deadLetterOf(dying)
    expect(JSON.stringify([code, causes, failures])).not.toContain(canary)
    expect(code).toBe('UNEXPECTED')
    for (const letter of [retryLetter(dying), mirrorLetter(dying, 1)])
      expect(JSON.stringify(letter)).not.toContain(canary)
    const lines: string[] = []
    const log = pino({}, { write: (line: string) => void lines.push(line) })
    createFailureLog(log, new FakeClock())({ ...dying, outcome: { kind: 'dead', letter: 1 } })
    expect(lines.join('')).toContain('"code":"UNEXPECTED"')
    expect(lines.join('')).not.toContain(canary)
  })

  test('is what it was if it has the form of one: ours, Node’s, a SQLSTATE', () => {
    for (const code of [
      'SITE_UNKNOWN',
      'ECONNREFUSED',
      'ERR_SSL_WRONG_VERSION_NUMBER',
      '23505',
      '42P01',
      'X',
    ])
      expect(codeOf(thrown(code))).toBe(code)
    for (const code of ['', 'a', '1234', '4711-A', 'SITE UNKNOWN', `X${'Y'.repeat(64)}`, 'X\n', 5, null])
      expect(codeOf(thrown(code))).toBe('UNEXPECTED')
    const hostile = Object.defineProperty(new Error('bad'), 'code', {
      get: () => {
        throw new Error('no')
      },
    })
    expect(codeOf(hostile)).toBe('UNEXPECTED')
  })
})

describe('letters', () => {
  test('on the second rung the story still begins with the first failure', () => {
    const first = retryLetter(failing({}))
    expect(first.headers[headers.attempt]).toBe(2)
    const second = retryLetter({
      ...failing({ headers: first.headers, attempt: 2, exchange: '', routingKey: 'g.00.v2' }),
      nowMs: 9000,
    })
    expect(second.headers).toMatchObject({
      [headers.attempt]: 3,
      [headers.originalExchange]: 'tidegate.events',
      [headers.originalRoutingKey]: '00.com.acme.climate',
      [headers.firstFailedAt]: '1970-01-01T00:00:01.000Z',
      [headers.lastFailedAt]: '1970-01-01T00:00:09.000Z',
    })
    expect(readFailures(second.headers).map(({ attempt }) => attempt)).toEqual([1, 2])
  })

  test('headers stay small, whatever the error says and the publisher wrote', () => {
    const story = JSON.stringify(
      Array.from({ length: 50 }, (_, attempt) => ({ attempt, at: 't', code: 'C', message: 'm'.repeat(160) })),
    )
    const noise = { 'x-death': [{ count: 1 }], huge: 'h'.repeat(100_000), [headers.failures]: story }
    const letter = mirrorLetter(
      failing(
        { headers: noise },
        Object.assign(new Error('ä'.repeat(100_000)), { code: 'C'.repeat(100_000) }),
      ),
      7,
    )
    expect(JSON.stringify(letter.headers).length).toBeLessThan(8_192)
    expect(Buffer.byteLength(String(letter.headers[headers.errorMessage]))).toBeLessThanOrEqual(1024)
    expect(String(letter.headers[headers.errorMessage])).toMatch(/^ä+…$/)
    expect(letter.headers).not.toHaveProperty('x-death')
    expect(JSON.stringify(letter.barer.at(-1)).length).toBeLessThan(2048)
  })

  test('where a handler threw goes along, innermost place first, and what Tidegate says itself has none', () => {
    const stack = mirrorLetter(failing({}, new TypeError('odd')), 7).headers[headers.errorStack]
    expect(String(stack).split('\n')[0]).toContain('letters.test.ts')
    const deep = new Error('deep')
    deep.stack = `Error: deep\n${Array.from({ length: 999 }, (_, depth) => `    at dived (/ä/dive.js:${depth}:1)`).join('\n')}`
    const kept = String(mirrorLetter(failing({}, deep), 7).headers[headers.errorStack])
    expect(Buffer.byteLength(kept)).toBeGreaterThan(8_100)
    expect(Buffer.byteLength(kept)).toBeLessThanOrEqual(8_192)
    expect(kept.split('\n').every((line) => /^at dived \(.*\)$/.test(line))).toBe(true)
    const ours = new TidegateError('SCHEMA_VIOLATION', { message: 'm', retryable: false, hint: 'h' })
    expect(mirrorLetter(failing({}, ours), 7).headers).not.toHaveProperty(headers.errorStack)
    const hostile = Object.defineProperty(new Error('x'), 'stack', {
      get() {
        throw new Error('no')
      },
    })
    expect(mirrorLetter(failing({}, hostile), 7).headers).not.toHaveProperty(headers.errorStack)
  })

  test('what a publisher forged of ours is bounded, and none of it keeps the letter from being sent (G5)', () => {
    const forged = {
      [headers.attempt]: 2 ** 53,
      [headers.failures]: JSON.stringify([
        { attempt: 1 },
        null,
        { attempt: 1, at: 'a', code: 'C', message: 'm' },
      ]),
      [headers.originalRoutingKey]: 'k'.repeat(130_000),
      [headers.originalExchange]: { a: 1 },
      [headers.firstFailedAt]: 'long ago',
      [headers.probe]: 'x',
      CC: ['history.00'],
      // No client sends it as a text, and RabbitMQ closes the channel of one that does.
      BCC: 'history.00',
      odd: -1e300,
      ['\ufffd'.repeat(255)]: 'a name that was no UTF-8, and is too long as it is read',
      [headers.originalProperties]: 'A'.repeat(20_000),
      mine: 'kept',
    }
    const about = { propertyBlock: Buffer.from('as it came'), attempt: readAttempt(forged) }
    const { headers: made, barer } = mirrorLetter(failing({ headers: forged, exchange: '', ...about }), 7)
    expect(made).toMatchObject({
      mine: 'kept',
      [headers.attempt]: 1,
      [headers.originalRoutingKey]: 'k'.repeat(255),
      [headers.originalExchange]: '',
      [headers.firstFailedAt]: '1970-01-01T00:00:01.000Z',
      [headers.originalProperties]: Buffer.from('as it came').toString('base64'),
    })
    expect(readFailures(made)).toHaveLength(2)
    expect(Object.keys(made).filter((name) => ['CC', 'BCC', 'odd', headers.probe].includes(name))).toEqual([])
    expect(Object.keys(made).filter((name) => name.includes('\ufffd'))).toEqual([])
    expect(JSON.stringify(barer.at(-1)).length).toBeLessThan(2048)
  })

  test('where a letter came from, and who published it, is believed of what comes by the default exchange alone (G9)', () => {
    const said = {
      [headers.originalUser]: 'gateway-1',
      [headers.originalRoutingKey]: '01.com.acme.other',
      [headers.originalExchange]: 'elsewhere',
      [headers.firstFailedAt]: '2020-01-01T00:00:00.000Z',
    }
    const about = { headers: said, publisher: 'gateway-2' }
    expect(mirrorLetter(failing({ ...about, exchange: '' }), 7).headers).toMatchObject(said)
    expect(mirrorLetter(failing(about), 7).headers).toMatchObject({
      [headers.originalUser]: 'gateway-2',
      [headers.originalQueue]: delivery({}).queue,
      [headers.originalRoutingKey]: '00.com.acme.climate',
      [headers.originalExchange]: 'tidegate.events',
      [headers.firstFailedAt]: '1970-01-01T00:00:01.000Z',
    })
  })

  test('what is not taken over of AMQP’s properties is there as it came (G5)', () => {
    const propertyBlock = Buffer.from('as it came')
    const more = mirrorLetter(failing({ propertyBlock, hasMoreProperties: true }), 7).headers
    expect(more[headers.originalProperties]).toBe(propertyBlock.toString('base64'))
    expect(mirrorLetter(failing({ propertyBlock }), 7).headers).not.toHaveProperty(headers.originalProperties)
  })

  test('what the publisher wrote is kept, and what is no story is none', () => {
    expect(mirrorLetter(failing({ headers: { mine: 1 } }), 7).headers).toMatchObject({ mine: 1 })
    expect(readFailures({ [headers.failures]: '{' })).toEqual([])
    expect(readFailures(told(1_000))[0]?.message).toHaveLength(160)
    expect(readFailures(told(20_000))).toEqual([])
    const odd = { attempt: 1, at: '\0'.repeat(100), code: '\0'.repeat(100), message: '\0'.repeat(160) }
    expect(Buffer.byteLength(listed(Array.from({ length: 10 }, () => odd)))).toBeLessThanOrEqual(16_384)
    expect(
      [undefined, 0, -1, 1.5, '2', 3].map((attempt) => readAttempt({ [headers.attempt]: attempt })),
    ).toEqual([1, 1, 1, 1, 1, 3])
  })
})
