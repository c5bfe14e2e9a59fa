import { expect, test } from 'vitest'
import { bounded } from '../../../cloud/pipeline/limits/timeout.ts'
import { FakeClock } from '../../support/fakes/clock.ts'

test('bounded work leaves nothing waiting behind, however it ends', async () => {
  const clock = new FakeClock()
  const parent = new AbortController()
  const options = { timeoutMs: 100, parent: parent.signal, clock }
  await expect(bounded(() => 1, options)).resolves.toBe(1)
  await expect(
    bounded(() => {
      throw new Error('sync')
    }, options),
  ).rejects.toThrow('sync')
  const late = bounded(() => new Promise(() => {}), options)
  const [outcome] = await Promise.all([late.catch((error: unknown) => error), clock.advance(100)])
  expect(outcome).toMatchObject({ code: 'HANDLER_TIMEOUT', retryable: true })
  const stopped = bounded(() => new Promise(() => {}), options)
  parent.abort(new Error('stop'))
  await expect(stopped).rejects.toThrow('stop')
  await expect(bounded(() => 1, options)).rejects.toThrow('stop')
  expect(clock.waiting).toBe(0)
})
