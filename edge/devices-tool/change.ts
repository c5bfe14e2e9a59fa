import { stat } from 'node:fs/promises'
import type { Clock } from '../../src/clock.ts'
import { codeOf, TidegateError } from '../../src/errors.ts'
import { hashPassword, makePassword } from '../users/password.ts'
import { loadUsers, saveUsers, type Users } from '../users/users-file.ts'
import { lockUsers } from './users-lock.ts'

type Time = Pick<Clock, 'monotonicMs' | 'sleep'>

/** Gives the password of a device that had none: it is kept nowhere. @throws TidegateError `DEVICE_EXISTS` | `USERS_*` */
export function addDevice(file: string, name: string, clock: Time): Promise<string> {
  return withNewPassword(file, name, clock, (users) => {
    if (users.has(name))
      throw new TidegateError('DEVICE_EXISTS', {
        message: `${name} has a password already`,
        retryable: false,
        hint: `\`tidegate devices password ${name}\` gives it another, and the one that it has counts no more`,
      })
  })
}

/** Gives another password, and that which it had counts no more. @throws TidegateError `DEVICE_UNKNOWN` | `USERS_*` */
export function renewPassword(file: string, name: string, clock: Time): Promise<string> {
  return withNewPassword(file, name, clock, (users) => mustHave(users, name))
}

/** @throws TidegateError `DEVICE_UNKNOWN` | `USERS_*` */
export function removeDevice(file: string, name: string, clock: Time): Promise<void> {
  return changing(file, clock, (users) => {
    mustHave(users, name)
    users.delete(name)
  })
}

async function withNewPassword(
  file: string,
  name: string,
  clock: Time,
  check: (users: Users) => void,
): Promise<string> {
  const password = makePassword()
  // It takes its time: nobody waits for it with the lock.
  const hash = await hashPassword(password)
  await changing(file, clock, (users) => {
    check(users)
    users.set(name, hash)
  })
  return password
}

/** Each waits for its turn by itself. */
const attemptsMax = 10

async function changing(
  file: string,
  clock: Time,
  change: (users: Map<string, string>) => void,
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const lock = await lockUsers(file, clock)
    try {
      const users = new Map(await usersIn(file))
      change(users)
      await lock.confirm()
      await saveUsers(file, users)
      return
    } catch (error) {
      // Whoever took a leftover away may have taken this one's lock for it: nothing is written yet, and it is done again.
      if (codeOf(error) !== 'USERS_LOCKED' || attempt === attemptsMax) throw error
    } finally {
      await lock.release()
    }
  }
}

async function usersIn(file: string): Promise<Users> {
  try {
    await stat(file)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return new Map()
  }
  return await loadUsers(file)
}

function mustHave(users: Users, name: string): void {
  if (users.has(name)) return
  throw new TidegateError('DEVICE_UNKNOWN', {
    message: `no device ${name} has a password`,
    retryable: false,
    hint: '`tidegate devices list` shows those that have',
  })
}
