import { describe, expect, test } from 'vitest'
import { faultOf, strangeMessage } from '../../proof/strange.ts'

describe('messages that nobody expects', () => {
  test('5,000 kinds of properties and headers come to be letters that can be sent, and none throws (G5)', async () => {
    const faults: string[] = []
    for (let index = 0; index < 5_000; index++) {
      const fault = await faultOf(strangeMessage(1, index))
      if (fault !== undefined) faults.push(`message ${index}: ${fault}`)
    }
    expect(faults).toEqual([])
  }, 60_000)
})
