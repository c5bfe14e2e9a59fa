import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { TidegateError } from '../src/errors.ts'
import { run } from './servers/command.ts'
import { groups, type Tree } from './stack/config.ts'
import { cli, demoConsumer } from './stack/programs.ts'

const checkedWithinMs = 30_000

/**
 * The cloud's configuration with a consumer of somebody's beside ours; found out before any server is started whether it can be used.
 * @throws TidegateError `OPTIONS_INVALID`
 */
export async function withConsumer(file: string, env: NodeJS.ProcessEnv): Promise<Tree> {
  const module = resolve(file)
  if (!existsSync(module)) throw unusable(`there is no file ${module}`)
  const consumers = [...groups, { module }]
  const { stdout } = await run(
    {
      file: process.execPath,
      args: [cli, 'cloud', '--check'],
      env: { ...env, TIDEGATE_CLOUD__CONSUMERS: JSON.stringify(consumers) },
    },
    { timeoutMs: checkedWithinMs },
  )
  const [, fault] = /^FAULT consumers +(.*(?:\n {6}.*)*)/m.exec(stdout) ?? []
  if (fault !== undefined) throw unusable(fault.replaceAll(/\n +/g, '; '))
  return { consumers }
}

/** The cloud's configuration with the consumer of the demonstration beside ours. */
export function withDemoConsumer(): Tree {
  return { consumers: [...groups, { module: demoConsumer }] }
}

function unusable(message: string): TidegateError {
  return new TidegateError('OPTIONS_INVALID', {
    message: `--consumer: ${message}`,
    retryable: false,
    hint: 'a consumer is a JavaScript or TypeScript module: export default { group, types, handle }; see docs/CONSUMERS.md',
  })
}
