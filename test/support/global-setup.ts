import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { TestProject } from 'vitest/node'
import { openServerDesk } from './server-desk.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    serverDeskUrl: string
  }
}

/** Once per run: builds what tests start as programs, and opens the desk they get their servers from. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  build()
  const desk = await openServerDesk()
  project.provide('serverDeskUrl', desk.url)
  return () => desk.close()
}

/** `npm test` has built already; a bare `vitest run` must not test yesterday's programs. */
function build(): void {
  const root = fileURLToPath(new URL('../..', import.meta.url))
  const built = spawnSync(`${root}/node_modules/.bin/tsc`, ['-b'], { cwd: root, encoding: 'utf8' })
  if (built.status !== 0)
    console.warn(`tsc -b failed; programs in dist/ may be old\n${built.stdout}${built.stderr}`)
}
