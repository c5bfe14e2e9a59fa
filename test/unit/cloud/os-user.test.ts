import { expect, test } from 'vitest'
import { userId, userName } from '../../../cloud/os-user.ts'

const unknown = (): never => {
  throw Object.assign(new Error('uv_os_get_passwd returned ENOENT'), { code: 'ERR_SYSTEM_ERROR' })
}

test('a user without an entry in the system has a name all the same', () => {
  expect(userName(() => ({ username: 'ann' }))).toBe('ann')
  expect(userName(unknown)).toBe(`uid-${process.getuid?.() ?? -1}`)
  expect(userName(unknown)).toMatch(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$/)
  expect(userId()).toBe(process.getuid?.())
})
