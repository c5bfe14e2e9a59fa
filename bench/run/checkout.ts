import { execFileSync, type ExecFileSyncOptions } from 'node:child_process'
import { readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { Scope } from '../../src/lifecycle.ts'
import type { Product } from './case.ts'
import { thisCheckout } from './worker.ts'

/** The commit of this checkout, with `+` behind it if files have changed since. */
export function revisionHere(): string {
  const changed = git('status', '--porcelain', '--untracked-files=no') !== ''
  return git('rev-parse', '--short', 'HEAD') + (changed ? '+' : '')
}

/**
 * Another revision in a worktree of its own, compiled. It shares our packages if it locks the same, and has its own else.
 * @throws Error if there is no such revision, or if it cannot be built
 */
export function checkOut(
  revision: string,
  { dir, scope, say }: { dir: string; scope: Scope; say: (line: string) => void },
): Product {
  const commit = git('rev-parse', '--short', '--verify', `${revision}^{commit}`)
  const root = join(dir, 'checkout')
  git('worktree', 'add', '--detach', '--force', root, commit)
  scope.own({ close: () => void git('worktree', 'remove', '--force', root) })
  say(`building ${commit}`)
  const how: ExecFileSyncOptions = { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] }
  if (lockOf(root) === lockOf(thisCheckout.root))
    symlinkSync(join(thisCheckout.root, 'node_modules'), join(root, 'node_modules'))
  else execFileSync('npm', ['ci', '--no-audit', '--no-fund'], how)
  // The programs of both sides, and nothing of its tests and benches.
  execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-b', 'cli'], how)
  return { revision: commit, root }
}

function git(...args: string[]): string {
  return execFileSync('git', args, { cwd: thisCheckout.root, encoding: 'utf8' }).trim()
}

function lockOf(root: string): string {
  return readFileSync(join(root, 'package-lock.json'), 'utf8')
}
