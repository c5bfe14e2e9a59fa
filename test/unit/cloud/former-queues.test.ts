import { describe, expect, test, vi } from 'vitest'
import type { FormerLine, FormerQueue, UpgradeRegister } from '../../../cloud/queues/former.ts'
import { startUpgrade, type UpgradeOptions } from '../../../cloud/queues/upgrade.ts'
import { silentLog } from '../../../src/log.ts'
import { FakeClock } from '../../support/fakes/clock.ts'

const queues: FormerQueue[] = [
  { queue: 'g.00', partition: 0 },
  { queue: 'g.01', partition: 1 },
]

/** Everything that was done, in order, and parts that do nothing by themselves. */
function parts(more: { register?: Partial<UpgradeRegister>; line?: Partial<FormerLine> } = {}): {
  clock: FakeClock
  done: string[]
  options: UpgradeOptions
} {
  const clock = new FakeClock()
  const done: string[] = []
  const line: FormerLine = {
    subscribe: ({ queue }) => void done.push(`subscribe ${queue}`),
    leave: async ({ queue }) => void done.push(`leave ${queue}`),
    isOver: () => false,
    emptied: async ({ queue }) => void done.push(`emptied ${queue}`),
    pause: () => {},
    resume: () => {},
    stop: () => {},
    close: async () => {},
    ...more.line,
  }
  const register: UpgradeRegister = {
    drained: async () => new Set(),
    note: async (queue) => void done.push(`note ${queue}`),
    olderInstances: async () => [],
    lock: async () => ({
      lost: new AbortController().signal,
      release: async () => void done.push('release'),
    }),
    ...more.register,
  }
  const options: UpgradeOptions = {
    queues: queues.slice(0, 1),
    drained: new Set(),
    ordered: true,
    line,
    register,
    bind: async (partition) => void done.push(`bind ${partition}`),
    unbind: async ({ queue }) => void done.push(`unbind ${queue}`),
    onDelivery: () => {},
    goneAfterMs: 1,
    clock,
    random: () => 0,
    log: silentLog,
  }
  return { clock, done, options }
}

describe('the upgrade of queues', () => {
  test('binds the new queue before it unbinds the former, and reads it after that is drained and noted (G5, G6)', async () => {
    const { clock, done, options } = parts()
    const former = startUpgrade(options)
    await clock.during(former.whenReady(0)?.then(() => done.push('ready')))
    await clock.until(() => done.includes('release'))
    expect(done.filter((what) => what !== 'release')).toEqual([
      'subscribe g.00',
      'bind 0',
      'unbind g.00',
      'emptied g.00',
      'note g.00',
      'subscribe g.00',
      'ready',
    ])
    expect(former.counts).toEqual({ draining: 0, drained: 1 })
    await clock.during(former.close())
  })

  test('touches nothing before a group that begins at the beginning of history may read its queues (G6)', async () => {
    const over = new AbortController()
    const after = new Promise<void>((resolve) => over.signal.addEventListener('abort', () => resolve()))
    const { clock, done, options } = parts()
    const former = startUpgrade({ ...options, after })
    await new Promise(setImmediate)
    expect(done).toEqual([])
    over.abort()
    await clock.during(former.whenReady(0))
    expect(done.slice(0, 3)).toEqual(['subscribe g.00', 'bind 0', 'unbind g.00'])
    await clock.during(former.close())
  })

  test('does nothing that another instance has done while this one came to the lock (G6)', async () => {
    const drained = vi.fn<UpgradeRegister['drained']>(async () => new Set(['g.00']))
    drained.mockResolvedValueOnce(new Set())
    const { clock, done, options } = parts({ register: { drained } })
    const former = startUpgrade(options)
    await clock.during(former.whenReady(0))
    await clock.until(() => done.includes('release'))
    expect(done.filter((what) => what !== 'unbind g.00')).toEqual(['subscribe g.00', 'release'])
    await clock.during(former.close())
  })

  test('a partition that fails is tried again by itself, and holds up no other', async () => {
    const emptied = vi.fn<FormerLine['emptied']>(async () => {})
    emptied.mockRejectedValueOnce(new Error('the broker is gone'))
    const { clock, done, options } = parts({ line: { emptied } })
    const former = startUpgrade({ ...options, queues })
    await clock.during(former.whenReady(1))
    expect(done).toContain('note g.01')
    expect(done).not.toContain('note g.00')
    await clock.during(former.whenReady(0))
    expect(done).not.toContain('leave g.00')
    await clock.during(former.close())
  })

  test('when the lock is lost nothing is noted any more, and the place in line is given up before another may have it (G6)', async () => {
    const lost = new AbortController()
    const { clock, done, options } = parts({
      register: {
        lock: async () => ({ lost: lost.signal, release: async () => void done.push('release') }),
      },
      line: {
        emptied: (former, signal) =>
          new Promise((resolve) => {
            done.push(`waits for ${former.queue}`)
            signal.addEventListener('abort', () => resolve())
          }),
      },
    })
    const former = startUpgrade({ ...options, queues })
    await clock.until(() => done.includes('waits for g.01'))
    lost.abort()
    await clock.until(() => done.includes('release'))
    expect(done.slice(-3)).toEqual(['leave g.00', 'leave g.01', 'release'])
    expect(done.filter((what) => what.startsWith('note'))).toEqual([])
    await clock.during(former.close())
  })

  test('a line that is not given up in time does not keep the lock', async () => {
    const lost = new AbortController()
    const { clock, done, options } = parts({
      register: { lock: async () => ({ lost: lost.signal, release: async () => void done.push('release') }) },
      line: { emptied: () => Promise.reject(new Error('over')), leave: () => new Promise(() => {}) },
    })
    const former = startUpgrade(options)
    await clock.until(() => done.includes('unbind g.00'))
    lost.abort()
    await clock.until(() => done.includes('release'))
    expect(done.at(-1)).toBe('release')
    await clock.during(former.close())
  })

  test('what was drained before is unbound again: a broker that was restored has bound it', async () => {
    const { clock, done, options } = parts()
    const former = startUpgrade({ ...options, drained: new Set(['g.00']) })
    await clock.until(() => done.includes('unbind g.00'))
    expect(done).toEqual(['subscribe g.00', 'unbind g.00'])
    await clock.during(former.close())
  })

  test('lets a partition whose queue was noted as drained be read at once', async () => {
    const { clock, done, options } = parts({ register: { lock: async () => undefined } })
    const former = startUpgrade({ ...options, queues, drained: new Set(['g.00']) })
    expect(former.whenReady(0)).toBeUndefined()
    expect(former.whenReady(1)).toBeInstanceOf(Promise)
    expect([...former.unbound()]).toEqual([1])
    expect(done).not.toContain('subscribe g.01')
    await clock.during(former.close())
  })
})
