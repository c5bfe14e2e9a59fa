import { run } from './servers/command.ts'
import type { Audit } from './report.ts'

const auditWithinMs = 120_000

/** Runs `tidegate audit` as a user would; its exit code is its verdict. */
export async function audit(
  options: { cli: string; configFile: string; gateway: string; env: NodeJS.ProcessEnv },
  signal: AbortSignal,
): Promise<Audit> {
  const { cli, configFile, gateway, env } = options
  const { code, stdout, stderr } = await run(
    {
      file: process.execPath,
      args: [cli, 'audit', '--config', configFile, '--gateway', gateway, '--json'],
      env,
    },
    { signal, timeoutMs: auditWithinMs },
  )
  if (/unknown command/.test(stderr)) {
    return { kind: 'unavailable', detail: 'this build has no `tidegate audit`' }
  }
  return code === 0
    ? { kind: 'passed', detail: 'passed' }
    : { kind: 'failed', detail: lastLine(stderr) ?? lastLine(stdout) ?? `exit code ${code}` }
}

function lastLine(text: string): string | undefined {
  return text.trim().split('\n').at(-1) || undefined
}
