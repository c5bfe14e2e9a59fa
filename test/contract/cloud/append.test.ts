import { DatabaseError } from 'pg'
import { expect, test } from 'vitest'
import { append } from '../../../cloud/history/append/append-postgres.ts'
import type { Statements } from '../../../cloud/database/statements.ts'
import type { HistoryRecord } from '../../../cloud/history/history.ts'

function recordOf(sequence: number): HistoryRecord {
  return {
    gateway: 'gateway-1',
    epoch: '0'.repeat(26),
    sequence,
    source: '/devices/device-1',
    id: `<${sequence}>`,
    type: 'com.acme.climate',
    subject: undefined,
    dataschema: undefined,
    timeMs: 0,
    recordedMs: 0,
    disposition: 'accepted',
    reason: undefined,
    body: '{}',
  }
}

/** A database in which one event is stored already. */
function holding(sequence: number) {
  const asked: { name: string; sequences: number[] }[] = []
  const statements: Statements = {
    async run(name, _text, values) {
      const ids = (values[4] as Buffer | undefined)?.toString('latin1') ?? ''
      const sequences = [...ids.matchAll(/<(\d+)>/g)].map(([, digits]) => Number(digits))
      if (name.startsWith('history-append')) asked.push({ name, sequences })
      const isThere = sequences.includes(sequence)
      if (name === 'history-append') {
        if (isThere) throw Object.assign(new DatabaseError('it is there', 0, 'error'), { code: '23505' })
        return [[sequences.length]] as never
      }
      if (name === 'history-append-fresh')
        return sequences
          .filter((one) => one !== sequence)
          .map(recordOf)
          .map(({ gateway, epoch, source, id, ...one }) => [
            gateway,
            epoch,
            one.sequence,
            source,
            id,
          ]) as never
      if (name === 'history-find-around')
        return [['gateway-1', '0'.repeat(26), sequence, '/devices/device-1', `<${sequence}>`]] as never
      return [] as never
    },
  }
  return { statements, asked }
}

test('a repeat among a thousand costs its hundred the slow way, and no others (G4, G7)', async () => {
  const { statements, asked } = holding(450)
  const records = Array.from({ length: 1000 }, (_, index) => recordOf(1000 - index))
  const answers = await append(statements, records, { ms: 1, interval: '1 second' })
  expect(answers.filter((answer) => answer !== 'stored')).toEqual(['again'])
  const slow = asked.filter(({ name }) => name === 'history-append-fresh')
  expect(slow.map(({ sequences }) => sequences.length)).toEqual([100])
  // Rival transactions lock in the order of places.
  expect(
    asked.slice(1).flatMap(({ name, sequences }) => (name === 'history-append' ? sequences : [])),
  ).toEqual(Array.from({ length: 1000 }, (_, index) => index + 1))
})
