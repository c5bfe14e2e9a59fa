import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cloudCuts, sidingCuts } from '../proof/cloud-cuts.ts'
import { edgeCuts } from '../proof/edge-cuts.ts'
import { createVhost } from '../support/servers.ts'
import { createTestPki, type TestPki } from '../support/edge/test-broker.ts'

/** As many as take some seconds; `npm run prove` does thousands, of other seeds, on every Node that we support. */
const cuts = 24
const seed = 7

let pki: TestPki
let brokerUrl: string
let tls: { ca: Buffer; cert: Buffer; key: Buffer }
beforeAll(async () => {
  brokerUrl = await createVhost()
  pki = await createTestPki()
  tls = {
    ca: readFileSync(pki.caFile),
    cert: readFileSync(pki.edge.certFile),
    key: readFileSync(pki.edge.keyFile),
  }
})
afterAll(() => pki.close())

describe('over TLS, with the connection cut at any byte', () => {
  test('what the edge tells of as routed is in RabbitMQ, and nothing else is told of so (G3)', async () => {
    const result = await edgeCuts({ brokerUrl, tls, seed, cuts })
    expect(result.faults.slice(0, 10), `seed ${seed}`).toEqual([])
    expect(result.told).toBeGreaterThan(500)
  }, 60_000)

  test('a letter that the cloud takes for set aside is on its rung or among the dead letters (G5)', async () => {
    const result = await sidingCuts({ brokerUrl: await createVhost(), tls, seed, cuts })
    expect(result.faults.slice(0, 10), `seed ${seed}`).toEqual([])
    expect(result.told).toBeGreaterThan(200)
  }, 60_000)

  test('a delivery that the cloud acknowledges is committed or aside (G4, G5)', async () => {
    const result = await cloudCuts({ brokerUrl: await createVhost(), tls, seed, cuts })
    expect(result.faults.slice(0, 10), `seed ${seed}`).toEqual([])
    expect(result.told).toBeGreaterThan(200)
  }, 60_000)
})
