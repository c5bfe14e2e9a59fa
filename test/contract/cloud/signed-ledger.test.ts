import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Client } from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { checkpointType } from '../../../src/contract/checkpoint.ts'
import type { Event } from '../../../src/contract/event.ts'
import { audit, command, copyOf, databaseWith, tamper } from '../../support/cloud/audited-database.ts'
import { rewritten, signedHead, signedLedger, signer } from '../../support/cloud/signed-ledger.ts'
import { type TestSigner, testSigner } from '../../support/fakes/signer.ts'

const epochs = ['01JGFJJZ00TESTTESTTESTTEST', '01JGFJJZ01TESTTESTTESTTEST'] as const
const other = '01JGFJJZ02TESTTESTTESTTEST'
const thief = testSigner(9)
const folder = mkdtempSync(join(tmpdir(), 'tidegate-signed-'))
const heads = join(folder, 'heads.json')
let url: string

/** Two ledgers of a gateway, both signed, and one of another that says what it likes of the first one's. */
beforeAll(async () => {
  const [first, second] = [
    await signedLedger('gateway-1', epochs[0]),
    await signedLedger('gateway-1', epochs[1]),
  ]
  const liar = await signedLedger('gateway-2', other)
  // What devices say has its identity in every ledger.
  const events = [first, second, liar].flatMap(({ events: said }, index) => (index === 0 ? said : []))
  const apart = await Promise.all(
    [second, liar].map((ledger, index) =>
      rewritten(
        ledger.events.map(({ text }) => text),
        async (event, before) => {
          event.id = `${index}-${event.id}`
          if (event.type === checkpointType && before) event.data = await signedHead(before.event)
        },
      ),
    ),
  )
  url = await databaseWith([...events, ...apart.flat()])
  await command('gateways', 'add', 'gateway-1', '--cert', keyFile(signer), '-d', url)
  await command('audit', '-d', url, '--heads', heads)
})
afterAll(() => rmSync(folder, { recursive: true }))

function keyFile({ publicKey, key }: TestSigner): string {
  const file = join(folder, `${key}.pem`)
  writeFileSync(file, publicKey.export({ type: 'spki', format: 'pem' }))
  return file
}

/** As the owner of the database, who can compute SHA-256: all of an epoch, chained anew. */
async function rewrite(
  client: Client,
  epoch: string,
  change: Parameters<typeof rewritten>[1],
): Promise<void> {
  const { rows } = await client.query<{ body: string }>(
    `select body::text as body from tidegate.events where gateway = 'gateway-1' and epoch = $1 order by sequence`,
    [epoch],
  )
  for (const { event, text } of await rewritten(
    rows.map(({ body }) => body),
    change,
  ))
    await client.query('update tidegate.events set body = $1 where epoch = $2 and sequence = $3', [
      text,
      epoch,
      event.sequence,
    ])
}

async function kinds(of: string, ...more: string[]): Promise<{ code: number; named: string[] }> {
  const { code, stdout, stderr } = await command('audit', '-d', of, '--json', ...more)
  expect(stderr).toMatch(/^(tidegate: ps shows every user .*\n)?$/)
  return { code, named: (JSON.parse(stdout) as { named: string[] }).named }
}

const warmer = (event: Event): void => {
  if (event.sequence > 25 && event.type !== checkpointType) event.data = { temperature: 99 }
}

test('the owner of the database who rewrites a tail with correct hashes is named (G8)', async () => {
  const copy = await copyOf(url)
  await tamper(copy, (client) => rewrite(client, epochs[1], warmer))
  expect(await kinds(copy)).toEqual({ code: 1, named: ['rewritten'] })
  const reports = await audit(copy)
  expect(reports.filter(({ ok }) => !ok)).toMatchObject([
    { gateway: 'gateway-1', epoch: epochs[1], signed: { sequence: 21 }, faults: [{ sequence: 33 }] },
  ])
})

test('the owner who rewrites an epoch and signs it with a key of his own is named, and by the kept heads even if he registers that key (G8)', async () => {
  const copy = await copyOf(url)
  await tamper(copy, (client) =>
    rewrite(client, epochs[0], async (event, before) => {
      warmer(event)
      if (event.type === checkpointType && before) event.data = await signedHead(before.event, thief)
    }),
  )
  expect(await kinds(copy)).toEqual({ code: 1, named: ['unknown-key'] })
  await command('gateways', 'key', 'add', 'gateway-1', '--cert', keyFile(thief), '-d', copy)
  expect(await kinds(copy)).toEqual({ code: 0, named: [] })
  expect(await kinds(copy, '--against', heads)).toEqual({ code: 1, named: ['unknown-key', 'rewritten'] })
})

test('the owner who cuts off a tail, or drops an epoch or a gateway, is named by the kept heads (G8)', async () => {
  expect(await kinds(url, '--against', heads)).toEqual({ code: 0, named: [] })
  expect((await command('audit', '-d', url)).stdout).toContain('signed up to 32')
  for (const sql of [
    `delete from tidegate.events where epoch = '${epochs[1]}' and sequence > 21`,
    `delete from tidegate.events where epoch = '${epochs[1]}'`,
    `delete from tidegate.events where gateway = 'gateway-1'`,
  ]) {
    const copy = await copyOf(url)
    await tamper(copy, sql)
    expect(await kinds(copy)).toEqual({ code: 0, named: [] })
    expect(await kinds(copy, '--against', heads)).toEqual({ code: 1, named: ['cut'] })
  }
})

test('one who may write the tables, and computes nothing, is named without any signature (G8)', async () => {
  const copy = await copyOf(url)
  await tamper(
    copy,
    `update tidegate.events set body = replace(body::text, '20.5', '20.6')::json where epoch = '${epochs[0]}' and sequence = 5`,
  )
  expect(await kinds(copy)).toEqual({ code: 1, named: ['unlinked'] })
})

test('what was kept of a ledger that is at fault stays, when heads are written anew (G8)', async () => {
  const copy = await copyOf(url)
  await tamper(copy, `delete from tidegate.events where epoch = '${epochs[1]}' and sequence > 21`)
  const anew = join(folder, 'anew.json')
  await command('audit', '-d', copy, '--against', heads, '--heads', anew)
  expect(JSON.parse(readFileSync(anew, 'utf8'))).toEqual(JSON.parse(readFileSync(heads, 'utf8')))
  const unreadable = await command('audit', '-d', copy, '--against', join(folder, 'none.json'))
  expect(unreadable.code).toBe(1)
  expect(unreadable.stderr).toContain('HEADS_FILE')
})

test('a gateway that excuses, invents or ends what is in another’s ledger is not believed, and named (G9)', async () => {
  const liar = await signedLedger('gateway-2', other)
  const say = (data: object): void =>
    void liar.events.push(
      liar.next('gateway-2', {
        source: '/gateways/gateway-2',
        id: `said-${liar.sequence}`,
        type: 'dev.tidegate.ledger',
        data,
      }),
    )
  say({ kind: 'undelivered', epoch: epochs[0], ranges: [{ from: 5, to: 5, reason: 'lost' }] })
  say({ kind: 'epoch-closed', epoch: epochs[0], lastSequence: 9_007_199_254_740_991, reason: 'corruption' })
  const first = await signedLedger('gateway-1', epochs[0])
  const without = first.events.filter(({ event }) => event.sequence !== 5)
  const copy = await databaseWith([...without, ...liar.events.slice(-2)])
  const [victim] = await audit(copy, { gateway: 'gateway-1' })
  expect(victim).toMatchObject({ lastSequence: 35, gaps: { ranges: [[5, 5]], count: 1 }, faults: [] })
  const [said] = await audit(copy, { gateway: 'gateway-2' })
  expect(said?.faults).toMatchObject([
    { sequence: 36, kind: 'foreign' },
    { sequence: 37, kind: 'foreign' },
  ])
  // Until it is said that the one is called like the other now.
  await command('gateways', 'rename', 'gateway-1', 'gateway-2', '-d', copy)
  expect((await audit(copy, { gateway: 'gateway-1' }))[0]?.undelivered).toMatchObject({ lost: { count: 1 } })
})
