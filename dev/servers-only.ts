import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { systemClock } from '../src/clock.ts'
import { TidegateError } from '../src/errors.ts'
import { aborted, createScope, untilSignal } from '../src/lifecycle.ts'
import { lockRun } from './folder.ts'
import { countMessages } from './watch/queues-rabbit.ts'
import { listQueues } from './evidence/evidence.ts'
import { untilNpmIsGone } from './parents.ts'
import { createQuit } from './quit.ts'
import { gatewayDefault } from './stack/config.ts'
import { startServers } from './stack/servers.ts'

/**
 * Starts the RabbitMQ and the PostgreSQL of a folder on what it holds, and nothing that would read from them, until somebody
 * quits: for looking at what a run left. Resolves with the exit code.
 * @throws TidegateError `STACK_ABSENT`, and as the servers do
 */
export async function runServersOnly(dir: string, process: NodeJS.Process): Promise<number> {
  const folder = resolve(dir)
  if (!existsSync(join(folder, 'rabbit')) && !existsSync(join(folder, 'postgres'))) throw absent(folder)
  const gone = AbortSignal.any([untilSignal(process), untilNpmIsGone(process)])
  const failing = new AbortController()
  const stop = AbortSignal.any([createQuit({ process, gone, clock: systemClock }).asked, failing.signal])
  const say = (line: string): void => void process.stdout.write(`${line}\n`)
  const scope = createScope()
  try {
    const locked = lockRun(dir)
    scope.own({ close: () => locked.release() })
    const { rabbit, postgres } = await startServers(
      {
        dir: folder,
        devices: [],
        gateway: gatewayDefault,
        env: process.env,
        say,
        timed: say,
        signal: stop,
        onCrash: (error) => failing.abort(error),
      },
      scope,
    )
    if (rabbit.how === 'private') {
      const url = rabbit.server.urlFor('cloud')
      const queues = await countMessages(url, await listQueues(rabbit.server, stop), systemClock)
      say(`\nRabbitMQ: ${url}`)
      for (const { queue, messages } of queues.filter(({ messages }) => messages > 0))
        say(`  ${String(messages).padStart(8)}  ${queue}`)
    }
    if (postgres.how === 'private') say(`PostgreSQL: psql '${postgres.server.url}'`)
    say('\nNo edge and no cloud reads from them. Ctrl-C stops them.')
    await aborted(stop)
    failing.signal.throwIfAborted()
    return 0
  } finally {
    await scope.close()
  }
}

function absent(folder: string): TidegateError {
  return new TidegateError('STACK_ABSENT', {
    message: `no run has left its servers in ${folder}`,
    retryable: false,
    hint: 'name the folder that the run named (--dir)',
  })
}
