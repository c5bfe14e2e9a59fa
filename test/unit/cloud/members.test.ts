import { expect, test } from 'vitest'
import { ownerOf } from '../../../cloud/groups/members.ts'

const shares = (members: string[]): string[] =>
  Array.from({ length: 16 }, (_, partition) => String(ownerOf(partition, members)))

test('members get even shares, and all agree on them', () => {
  expect(shares(['b', 'a', 'c'])).toEqual(shares(['c', 'b', 'a']))
  const perMember = ['a', 'b', 'c'].map(
    (member) => shares(['a', 'b', 'c']).filter((owner) => owner === member).length,
  )
  expect(perMember.toSorted((a, b) => a - b)).toEqual([5, 5, 6])
})
