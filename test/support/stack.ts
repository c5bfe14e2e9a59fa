import { afterAll, beforeAll } from 'vitest'
import { type Stack, type StackOptions, startStack } from '../../dev/stack/stack.ts'
import { useFolder } from './kept-folder.ts'

/** The whole of Tidegate as real processes on servers of its own, for one file of tests. */
export function useStack(options: Omit<StackOptions, 'dir' | 'env' | 'say'>): () => Stack {
  const dir = useFolder('tidegate-e2e-')
  // Servers that somebody lent hold what others left there.
  const { TIDEGATE_AMQP_URL: _amqp, TIDEGATE_PG_URL: _pg, ...env } = process.env
  let stack: Stack
  beforeAll(async () => {
    stack = await startStack({ ...options, dir, env, say: () => {} })
  }, 120_000)
  afterAll(async () => {
    await stack?.close()
  }, 60_000)
  return () => stack
}
