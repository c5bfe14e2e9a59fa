import { expect, test } from 'vitest'
import { visible } from '../../../src/visible.ts'

test('what a terminal would obey is shown, and what it shows stays as it is', () => {
  expect(visible('a\u009b2J\u001b[1m\u202eb\u2028\u200b\tc\n ä 漢 🌡')).toBe(
    'a\\u{9b}2J\\u{1b}[1m\\u{202e}b\\u{2028}\\u{200b}\\u{9}c\n ä 漢 🌡',
  )
})
