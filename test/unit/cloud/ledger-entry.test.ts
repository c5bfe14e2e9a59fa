import { expect, test } from 'vitest'
import { readLedgerEntry } from '../../../cloud/history/ledger-entry.ts'

const entry = (count: number): object => ({
  kind: 'undelivered',
  epoch: '01JGFJJZ00TESTTESTTESTTEST',
  ranges: Array.from({ length: count }, (_, index) => ({ from: index + 1, to: index + 1, reason: 'lost' })),
})

test('a ledger entry accounts for as many ranges as a gateway reports, and not for any number (G7)', () => {
  expect(readLedgerEntry(entry(1000))).toMatchObject({ kind: 'undelivered' })
  expect(readLedgerEntry(entry(1001))).toBeUndefined()
})
