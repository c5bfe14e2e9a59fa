import { describe, expect, test } from 'vitest'
import type { AmqpConnection } from '../../../cloud/amqp/connection-rabbit.ts'
import { rabbitSidings } from '../../../cloud/amqp/sidings-rabbit.ts'
import { asChannel, FakeChannel } from '../../support/cloud/fake-channel.ts'
import { letter } from '../../support/cloud/test-amqp.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'

const rung = { group: 'g', queue: 'g.00.v2', delayMs: 5_000 }

/** Sidings on channels that answer what a test lets them answer, and what each channel was sent. */
function open() {
  const clock = new FakeClock()
  const channels: FakeChannel[] = []
  const sent: string[] = []
  const state: { blocked: string | undefined; congested: boolean } = { blocked: undefined, congested: false }
  const client = {
    async acquire() {
      const channel = new FakeChannel(state.congested ? 1 : undefined)
      const which = channels.push(channel) - 1
      sent.push('')
      if (state.congested) channel.socket.write('of another')
      else channel.socket.on('data', (data: Buffer) => (sent[which] += data.toString('latin1')))
      return asChannel(channel)
    },
  }
  const connection = {
    client,
    get blocked() {
      return state.blocked
    },
  } as unknown as AmqpConnection
  /** How often a letter's text was handed to the broker. */
  const copies = (text: string): number => sent.join('').split(text).length - 1
  return { clock, channels, state, copies, sidings: rabbitSidings(connection, clock) }
}

const fateOf = (sending: Promise<void>): Promise<string> =>
  sending.then(
    () => 'proven',
    (error: Error) => error.message,
  )

describe('an answer that is late', () => {
  test('is no refusal: a letter that is sent again meanwhile is there once (G5)', async () => {
    const { clock, channels, copies, sidings } = open()
    const one = letter('the-letter-itself', { properties: {} })
    for (let again = 0; again < 4; again++) {
      const late = fateOf(sidings.send(rung, one))
      await settled()
      await clock.advance(20_000)
      expect(await late).toMatch(/has not answered for/)
    }
    const last = fateOf(sidings.send(rung, one))
    await settled()
    channels[0]?.ack(1)
    await settled()
    expect(await last).toBe('proven')
    expect(copies('the-letter-itself')).toBe(1)
  })

  test('that came while nobody waited is not asked for again (G5)', async () => {
    const { clock, channels, copies, sidings } = open()
    const one = letter('the-letter-itself', { properties: {} })
    const late = fateOf(sidings.send(rung, one))
    await settled()
    await clock.advance(20_000)
    await late
    channels[0]?.ack(1)
    await settled()
    expect(await fateOf(sidings.send(rung, one))).toBe('proven')
    expect(copies('the-letter-itself')).toBe(1)
  })

  test('is waited for as long as the broker has an alarm, which is said, and for a while after it (G5)', async () => {
    const { clock, channels, state, copies, sidings } = open()
    const one = letter('the-letter-itself', { properties: {} })
    state.blocked = 'low on memory'
    for (let again = 0; again < 360; again++) {
      const late = fateOf(sidings.send(rung, one))
      await settled()
      await clock.advance(10_000)
      expect(await late).toBe('g.retry.5s waits, for the broker takes nothing: low on memory')
    }
    state.blocked = undefined
    const sending = fateOf(sidings.send(rung, one))
    await settled()
    await clock.advance(14_000)
    channels[0]?.ack(1)
    await settled()
    expect(await sending).toBe('proven')
    expect(copies('the-letter-itself')).toBe(1)
  })

  test('that never comes ends the channel, and the letter is sent on another (G5)', async () => {
    const { clock, channels, copies, sidings } = open()
    const one = letter('the-letter-itself', { properties: {} })
    for (let again = 0; channels[0]?.closed !== 1; again++) {
      expect(again).toBeLessThan(30)
      const late = fateOf(sidings.send(rung, one))
      await settled()
      await clock.advance(16_000)
      await late
    }
    channels[0]?.emit('close')
    await settled()
    expect(await fateOf(sidings.send(rung, one))).toMatch(/closed|closing/)
    const last = fateOf(sidings.send(rung, one))
    await settled()
    channels[1]?.ack(1)
    await settled()
    expect(await last).toBe('proven')
    expect(copies('the-letter-itself')).toBe(2)
  })
})

describe('a letter because of which RabbitMQ closes the channel', () => {
  test('is sent alone and barer, and harms no other that was under way with it (G5)', async () => {
    const { channels, copies, sidings } = open()
    const tooLarge = Object.assign(new Error('too large'), { code: 'PRECONDITION_FAILED' })
    const bad = letter('bad', {
      properties: {},
      headers: { story: 'long' },
      barer: [{ properties: {}, headers: {} }],
    })
    const sending = [
      fateOf(sidings.send(rung, bad)),
      fateOf(sidings.send(rung, letter('good', { properties: {} }))),
    ]
    await settled()
    channels[0]?.emit('error', tooLarge)
    await settled()
    expect(channels).toHaveLength(2)
    channels[1]?.emit('error', tooLarge)
    await settled()
    for (const which of [2, 3]) {
      channels[which]?.ack(1)
      await settled()
    }
    expect(channels).toHaveLength(4)
    expect(await Promise.all(sending)).toEqual(['proven', 'proven'])
    expect(copies('good')).toBe(2)
  })

  test('also at its barest, is held, and RabbitMQ is quoted (G5)', async () => {
    const { channels, sidings } = open()
    const sending = fateOf(sidings.send(rung, letter('bad', { properties: {} })))
    await settled()
    for (const which of [0, 1]) {
      channels[which]?.emit(
        'error',
        Object.assign(new Error('message size'), { code: 'PRECONDITION_FAILED' }),
      )
      await settled()
    }
    expect(await sending).toBe('g.retry.5s does not take a letter: message size')
  })

  test('and that is taken back, as nothing of it can go out, leaves no channel open (G5)', async () => {
    const { channels, state, clock, sidings } = open()
    const tooLarge = Object.assign(new Error('too large'), { code: 'PRECONDITION_FAILED' })
    const one = letter('bad', { properties: {} })
    const refused = fateOf(sidings.send(rung, one))
    await settled()
    for (const which of [0, 1]) {
      channels[which]?.emit('error', tooLarge)
      await settled()
    }
    await refused
    state.blocked = 'low on memory'
    state.congested = true
    for (let again = 0; again < 3; again++) {
      const late = fateOf(sidings.send(rung, one))
      await settled()
      await clock.advance(1_000)
      expect(await late).toMatch('low on memory')
    }
    expect(channels.map(({ closed }) => closed > 0)).toEqual([false, true, true, true, true])
  })
})
