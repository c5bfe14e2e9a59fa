import { expect, test } from 'vitest'
import { createEventJudge } from '../../../cloud/schemas/gate/event-judge.ts'
import { registryOf } from '../../../src/schemas/registry.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { schemasOf } from '../../support/cloud/schemas/sources.ts'

test('what the code of an upcaster says of data is payload, and not part of the fault', () => {
  const type = 'com.acme.climate'
  const { types } = schemasOf({ [`${type}/1.json`]: {}, [`${type}/2.json`]: {} })
  const upcast = {
    from: 1,
    to: 2,
    apply(data: unknown): unknown {
      throw new Error(`cannot read ${JSON.stringify(data)}`)
    },
  }
  const judge = createEventJudge(registryOf(types), { find: () => upcast })
  const { event } = new Ledger().next('device-1', { dataschema: `${type}/1`, data: { secret: 4711 } })
  const fault = judge.ofStored(event, 2)
  expect(fault).toEqual({
    code: 'UPCAST_FAILED',
    fault: `${type}/upcast/1-2 failed`,
    value: expect.stringContaining('4711') as string,
  })
})
