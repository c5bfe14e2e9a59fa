import { describe, expect, test } from 'vitest'
import type { Reads } from '../../../cloud/api/reads/reads.ts'
import type { Deeds } from '../../../cloud/deeds/deeds.ts'
import { createTestApi } from '../../support/cloud/test-api.ts'

const ofHistory = {
  replay: 7,
  source: 'history',
  filter: { group: 'alerts', history: { types: ['com.acme.power'] } },
}
const reads = { replay: async () => ofHistory } as unknown as Reads

function open() {
  const calls: { verb: string; asked: unknown[] }[] = []
  const call =
    (verb: string, answer: unknown) =>
    async (...asked: unknown[]): Promise<never> => {
      calls.push({ verb, asked })
      return answer as never
    }
  const deeds = {
    replay: call('replay', { replay: 7, total: 12 }),
    previewHistory: call('preview', { group: 'alerts', events: 3 }),
    resumeReplay: call('resume', {}),
  } as unknown as Deeds
  const api = createTestApi({ parts: { reads, deeds } })
  const post = async (path: string, body: object, claims = {}): Promise<[status: number, body: unknown]> => {
    const token = await api.tokenOf('operator', claims)
    const answer = await api.ask(path, { token, method: 'POST', body })
    return [answer.status, await answer.json()]
  }
  return { calls, post }
}

describe('a replay out of history that is asked for over the API', () => {
  const history = {
    group: 'alerts',
    types: ['com.acme.power'],
    from: '2026-11-20T08:00:00Z',
    after: '28684800.7423.88120',
  }
  const selection = {
    group: 'alerts',
    types: ['com.acme.power'],
    fromMs: Date.parse(history.from),
    after: history.after,
  }

  test('is a deed with what it selects and its generation; a dry run needs no reason', async () => {
    const { calls, post } = open()
    expect(await post('/v1/replays', { history, generation: 'g', dryRun: true })).toEqual([
      200,
      { history: { group: 'alerts', events: 3 } },
    ])
    const [status, started] = await post('/v1/replays', {
      history,
      generation: 'g',
      reason: 'why',
      ratePerSecond: 500,
    })
    expect([status, started]).toEqual([202, { replay: 7, total: 12 }])
    expect(calls[0]?.asked).toEqual([selection, 'g'])
    expect(calls[1]?.asked[0]).toMatchObject({
      reason: 'why',
      request: { history: selection, generation: 'g', ratePerSecond: 500 },
    })
  })

  test('is of one source, with what belongs to that', async () => {
    const { calls, post } = open()
    const filter = { group: 'alerts' }
    for (const body of [{}, { filter, history }, { filter, generation: 'g' }, { history, believe: true }]) {
      const [status, problem] = await post('/v1/replays', { ...body, reason: 'why' })
      expect([status, (problem as { code: string }).code]).toEqual([422, 'REPLAY_SOURCE'])
    }
    const [status] = await post('/v1/replays', { history, generation: 'two words', reason: 'why' })
    expect(status).toBe(422)
    expect(calls).toEqual([])
  })

  test('is for those who are for its group and for each of its types; who is not sees none', async () => {
    const { calls, post } = open()
    const asked = { history, reason: 'why' }
    for (const claims of [{ groups: ['billing'] }, { types: ['com.acme.climate'] }]) {
      expect((await post('/v1/replays', asked, claims))[0]).toBe(403)
      expect((await post('/v1/replays/7/resume', { reason: 'why' }, claims))[0]).toBe(404)
    }
    const { types: _types, ...all } = history
    expect((await post('/v1/replays', { ...asked, history: all }, { types: ['com.acme.power'] }))[0]).toBe(
      403,
    )
    expect(calls).toEqual([])
    const claims = { groups: ['alerts'], types: ['com.acme.power'] }
    expect((await post('/v1/replays', asked, claims))[0]).toBe(202)
    expect((await post('/v1/replays/7/resume', { reason: 'why' }, claims))[0]).toBe(200)
    expect(calls.map(({ verb }) => verb)).toEqual(['replay', 'resume'])
  })
})
