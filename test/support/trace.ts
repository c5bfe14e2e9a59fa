import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A call to the kernel: its name, the path of the file it is about, its text as strace prints it, what it returned. */
export interface SystemCall {
  name: string
  path: string
  text: string
  result: number
}

/**
 * The system calls named, of all threads of this process, while `work` goes on, in the order in which they returned.
 * `inject` is strace's: `fdatasync:error=EIO` makes each of those fail. Calls that are under way when it begins or ends
 * are left out.
 */
export async function traced(
  { calls, inject }: { calls: readonly string[]; inject?: string },
  work: () => Promise<void>,
): Promise<SystemCall[]> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-trace-'))
  try {
    const file = join(folder, 'trace')
    const asRoot = process.getuid?.() === 0 ? [] : ['sudo', '-n']
    const wanted = ['-e', `trace=${calls.join(',')}`, '-e', 'signal=none']
    const injected = inject === undefined ? [] : ['-e', `inject=${inject}`]
    const where = ['-o', file, '-p', String(process.pid)]
    const [command = '', ...args] = [
      ...asRoot,
      'strace',
      '-f',
      '-y',
      '-s',
      '200',
      ...wanted,
      ...injected,
      ...where,
    ]
    const strace = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    const over = once(strace, 'exit')
    let said = ''
    const attached = new Promise<void>((resolve, reject) => {
      strace.stderr.on('data', (chunk: Buffer) => {
        said += chunk.toString()
        if (said.includes('attached')) resolve()
      })
      void over.then(() => reject(new Error(`strace ended: ${said}`)))
    })
    await attached
    try {
      await work()
    } finally {
      strace.kill('SIGINT')
      await over
    }
    return parse(await readFile(file, 'utf8'))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function parse(trace: string): SystemCall[] {
  const begun = new Map<string, string>()
  const found: SystemCall[] = []
  for (const line of trace.split('\n')) {
    const [, thread = '', rest = ''] = /^(\d+) +(.*)$/.exec(line) ?? []
    const unfinished = /^(.*) <unfinished \.\.\.>$/.exec(rest)
    if (unfinished) {
      begun.set(thread, unfinished[1] as string)
      continue
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest)
    const text = resumed ? (begun.get(thread) ?? '') + (resumed[1] as string) : rest
    const [, name, path, result] = /^(\w+)\(\d+<([^>]*)>.*\) += (-?\d+)/.exec(text) ?? []
    if (name !== undefined && path !== undefined) found.push({ name, path, text, result: Number(result) })
  }
  return found
}
