import { describe, expect, test } from 'vitest'
import { decodeEvent } from '../../../src/contract/codec.ts'
import { headers as names } from '../../../src/contract/wire.ts'
import { conditionsOf } from '../../../cloud/replays/filter.ts'
import { letterToSend } from '../../../cloud/replays/letter-to-send.ts'
import { letterOf } from '../../../cloud/replays/replayed.ts'
import {
  nextMove,
  type ReplayedLetter,
  type ReplayProgress,
  type ReplayPace,
} from '../../../cloud/replays/replays.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'

const options = { pageMax: 50, outstandingMax: 1_000, settleWithinMs: 60_000 }

const progress = (more: Partial<ReplayProgress> = {}): ReplayProgress => ({
  state: 'running',
  total: 100,
  sent: 0,
  resolved: 0,
  failed: 0,
  repeats: 0,
  returned: 0,
  step: 0,
  stepSent: 0,
  exhausted: false,
  pageOpen: false,
  stillMs: 0,
  ...more,
})

const filter = { group: 'effects' }
const move = (more: Partial<ReplayProgress>, request: ReplayPace = {}): unknown =>
  nextMove(progress(more), { filter, ...request }, options)

describe('what is next with a replay', () => {
  const ramp = [1, 10]

  test('as many letters as there is room for, and none beyond what may be on its way (G7)', () => {
    expect(move({})).toEqual({ kind: 'send', lettersMax: 50 })
    expect(move({ sent: 990, resolved: 10 })).toEqual({ kind: 'send', lettersMax: 20 })
    expect(move({ sent: 1_000 })).toEqual({ kind: 'wait' })
  })

  test('a step of the ramp, and the next one once all of it is settled', () => {
    expect(move({}, { ramp })).toEqual({ kind: 'send', lettersMax: 1 })
    expect(move({ sent: 1, stepSent: 1 }, { ramp })).toEqual({ kind: 'wait' })
    expect(move({ sent: 1, stepSent: 1, resolved: 1 }, { ramp })).toEqual({ kind: 'step' })
    expect(move({ sent: 1, resolved: 1, step: 1 }, { ramp })).toEqual({ kind: 'send', lettersMax: 10 })
    expect(move({ sent: 11, resolved: 11, step: 2 }, { ramp })).toEqual({ kind: 'send', lettersMax: 50 })
  })

  test('its end where more than its share has failed: at the end of a step, and behind the ramp at once', () => {
    const request = { ramp, stopAtShare: 0.2 }
    expect(move({ sent: 11, resolved: 5, failed: 3, step: 1, stepSent: 10 }, request)).toEqual({
      kind: 'wait',
    })
    expect(move({ sent: 11, resolved: 8, failed: 3, step: 1, stepSent: 10 }, request)).toMatchObject({
      kind: 'stop',
    })
    expect(move({ sent: 11, resolved: 9, failed: 2, step: 1, stepSent: 10 }, request)).toEqual({
      kind: 'step',
    })
    expect(move({ sent: 100, resolved: 7, failed: 3, step: 2 }, request)).toMatchObject({ kind: 'stop' })
    expect(move({ sent: 100, resolved: 5, failed: 3, step: 2 }, request)).toMatchObject({ kind: 'send' })
    expect(move({ sent: 100, resolved: 50, failed: 50 })).toMatchObject({ kind: 'send' })
  })

  test('the page of whoever had it before: its letters are replaying (G5)', () => {
    expect(move({ pageOpen: true, sent: 5_000 })).toMatchObject({ kind: 'send' })
  })

  test('a page that the broker does not take is given back: at once when it is to stop, else when its time is over (G5)', () => {
    expect(move({ pageOpen: true, state: 'stopping' })).toEqual({ kind: 'give-back' })
    const late = { pageOpen: true, stillMs: 60_001 }
    expect(move(late)).toMatchObject({
      kind: 'stop',
      reason: expect.stringMatching(/^PUBLISH_UNPROVEN/) as string,
    })
    expect(move({ ...late, state: 'stopping' })).toEqual({ kind: 'give-back' })
  })

  test('nothing more is sent when nothing was heard of what was', () => {
    const silent = { sent: 3, resolved: 1, stillMs: 60_001 }
    expect(move(silent)).toMatchObject({
      kind: 'stop',
      reason: expect.stringMatching(/^REPLAY_UNSETTLED/) as string,
    })
    expect(move({ ...silent, state: 'stopping' })).toEqual({ kind: 'give-back' })
  })

  test('nothing, until what is on its way is settled; what nothing is heard of is given back', () => {
    expect(move({ state: 'stopping', sent: 3, resolved: 1 })).toEqual({ kind: 'wait' })
    expect(move({ exhausted: true, sent: 3, resolved: 1 })).toEqual({ kind: 'wait' })
    expect(move({ exhausted: true, sent: 3, resolved: 1, stillMs: 60_001 })).toEqual({ kind: 'give-back' })
    expect(move({ exhausted: true, sent: 3, resolved: 1, returned: 2 })).toEqual({
      kind: 'end',
      state: 'done',
    })
    expect(move({ state: 'stopping', sent: 3, resolved: 1, failed: 2 })).toEqual({
      kind: 'end',
      state: 'stopped',
    })
  })
})

describe('a letter on its way back', () => {
  const { text } = new Ledger().next('device-1')
  const letter: ReplayedLetter = {
    letter: 7,
    group: 'effects',
    device: 'device-1',
    body: Buffer.from(text),
    properties: { messageId: 'id-1' },
    headers: { own: 'x' },
    routingKey: '03.com.acme.climate',
    publisher: 'gateway-1',
    unvetted: false,
    generation: undefined,
    edit: undefined,
  }

  test('goes to its group’s queue of its device, on its first attempt, with its body as it came', () => {
    const [target, message] = letterToSend(letter, 2, 4)
    expect(target).toEqual({ kind: 'queue', queue: 'effects.03.v2' })
    expect(message.body.toString()).toBe(text)
    expect(message.headers).toMatchObject({
      own: 'x',
      [names.letter]: 7,
      [names.replay]: 2,
      [names.attempt]: 1,
    })
    expect(letterOf({ exchange: '', headers: message.headers })).toEqual({ letter: 7, replay: 2 })
  })

  test('is believed to be one by the default exchange alone (G9)', () => {
    const headers = { [names.letter]: 7, [names.replay]: 2 }
    expect(letterOf({ exchange: 'tidegate.events', headers })).toBeUndefined()
    expect(letterOf({ exchange: '', headers: { [names.letter]: 7 } })).toBeUndefined()
    expect(letterOf({ exchange: '', headers: { ...headers, [names.replay]: '2' } })).toBeUndefined()
  })

  test('with an edit has other data, and everything else as it was', () => {
    const edit = {
      by: 'ada',
      at: '2026-01-01T00:00:00.000Z',
      deed: 'd',
      reason: 'r',
      patch: [{ op: 'replace', path: '/temperature', value: 3 }],
    }
    const [, message] = letterToSend({ ...letter, edit }, 2, 4)
    const { data, edited, ...rest } = decodeEvent(message.body.toString())
    const { data: _data, ...before } = decodeEvent(text)
    expect(data).toEqual({ temperature: 3 })
    expect(edited).toEqual({ by: 'ada', at: '2026-01-01T00:00:00.000Z', patch: edit.patch })
    expect(rest).toEqual(before)
  })
})

describe('a filter', () => {
  test('must say something, and nothing that there is not', () => {
    expect(() => conditionsOf({}, [])).toThrow(expect.objectContaining({ code: 'FILTER_EMPTY' }) as Error)
    expect(() => conditionsOf({ group: undefined } as never, [])).toThrow(
      expect.objectContaining({ code: 'FILTER_EMPTY' }) as Error,
    )
    expect(() => conditionsOf({ 'state = 1 or 1': 1 } as never, [])).toThrow(
      expect.objectContaining({ code: 'DEED_INVALID' }) as Error,
    )
    expect(conditionsOf({ group: 'a\0b', letter: 3 }, ['x'])).toEqual({
      sql: 'd.consumer_group = $2 and d.letter = $3',
      values: ['x', 'a\ufffdb', 3],
    })
  })
})
