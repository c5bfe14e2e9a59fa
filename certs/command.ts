import { hostname } from 'node:os'
import { join } from 'node:path'
import type { Command } from 'commander'
import { quoted } from '../src/settings/shell.ts'
import { renewDays } from '../src/tls-files.ts'
import { registerFleetCommands } from './command-fleet.ts'
import {
  countOf,
  daysLeftInWords,
  type IssueOptions,
  issuing,
  keyOption,
  onFolder,
  openedAuthority,
  type Parts,
  sayIssued,
} from './command-parts.ts'
import type { IssuedCertificate } from './issue.ts'

export interface CommandSurroundings {
  /** Takes one line of output, without its line end; default: standard output. */
  say?: (line: string) => void
  now?: () => Date
  /** Told when the command ends with 1 although it did what it was asked; default: the process's exit code. */
  onAlarm?: () => void
}

/** Adds `tidegate certs …`. Failures are thrown as TidegateErrors out of `parseAsync`, for the CLI to show. */
export function registerCertsCommands(program: Command, surroundings: CommandSurroundings = {}): void {
  const {
    say = (line) => void process.stdout.write(`${line}\n`),
    now = () => new Date(),
    onAlarm = () => void (process.exitCode = 1),
  } = surroundings
  const certs = program
    .command('certs')
    .description('issue, sign, renew and inspect the certificates of devices, gateways and servers')
  const parts: Parts = { certs, say, now, onAlarm }
  addInit(parts)
  addServer(parts)
  addDevice(parts)
  addGateway(parts)
  addCloud(parts)
  addInspect(parts)
  addDevelopment(parts)
  registerFleetCommands(parts)
}

function addInit({ certs, say, now }: Parts): void {
  onFolder(certs, 'init', 'make a certificate authority (ca.crt, ca.key), unless there is one')
    .option('--name <name>', "the CA's common name", 'Tidegate development CA')
    .option('--days <days>', 'days of validity (default: ten years)', countOf)
    .addOption(keyOption())
    .action(async (options: { dir: string; name: string; days?: number; key?: 'ecdsa' | 'rsa' }) => {
      const { createAuthority } = await import('./authority.ts')
      const authority = await createAuthority(options.dir, { ...options, now: now() })
      say(
        authority.created
          ? 'Made a certificate authority:'
          : 'There is a certificate authority already; nothing was changed:',
      )
      say(`  ${authority.certFile}   give it to everyone`)
      say(`  ${authority.keyFile}   give it to no one`)
    })
}

function addServer({ certs, say, now }: Parts): void {
  issuing(certs, 'server <name>', 'issue a server certificate: an MQTT listener, a RabbitMQ')
    .option('--dns <names...>', 'DNS names clients connect to (default: localhost and this machine)')
    .option('--ip <addresses...>', 'addresses clients connect to (default: 127.0.0.1 and ::1)')
    .action(async (name: string, options: IssueOptions & { dns?: string[]; ip?: string[] }) => {
      const authority = await openedAuthority(options.dir, now())
      const { issueCertificate } = await import('./issue.ts')
      const { dns, ip, dir, ...rest } = options
      const named = dns !== undefined || ip !== undefined
      const names = named
        ? { dnsNames: dns ?? [], ipAddresses: ip ?? [] }
        : { dnsNames: [...new Set(['localhost', hostname()])], ipAddresses: ['127.0.0.1', '::1'] }
      sayIssued(
        say,
        await issueCertificate(authority, {
          ...rest,
          ...names,
          commonName: name,
          kind: 'server',
          outDir: dir,
          now: now(),
        }),
      )
    })
}

function addDevice({ certs, say, now }: Parts): void {
  issuing(
    certs,
    'device <ids...>',
    "issue client certificates; a device's ID is its certificate's CN",
  ).action(async (ids: string[], options: IssueOptions) => {
    const authority = await openedAuthority(options.dir, now())
    const { issueDevices } = await import('./development.ts')
    const devices = await issueDevices(authority, ids, { ...options, now: now() })
    devices.forEach((one) => sayIssued(say, one))
    sayExample(say, authority.certFile, devices)
  })
}

function addGateway({ certs, say, now }: Parts): void {
  issuing(certs, 'gateway <name>', 'issue the client certificate a gateway shows to RabbitMQ').action(
    async (name: string, options: IssueOptions) => {
      const authority = await openedAuthority(options.dir, now())
      const { issueCertificate } = await import('./issue.ts')
      const outDir = join(options.dir, 'gateways')
      sayIssued(
        say,
        await issueCertificate(authority, {
          ...options,
          commonName: name,
          kind: 'client',
          role: 'gateway',
          outDir,
          now: now(),
        }),
      )
    },
  )
}

function addCloud({ certs, say, now }: Parts): void {
  issuing(certs, 'cloud [name]', 'issue the client certificate a cloud shows to RabbitMQ (cloud.crt)').action(
    async (name: string | undefined, options: IssueOptions) => {
      const authority = await openedAuthority(options.dir, now())
      const { issueCertificate } = await import('./issue.ts')
      sayIssued(
        say,
        await issueCertificate(authority, {
          ...options,
          commonName: name ?? 'cloud',
          kind: 'client',
          role: 'cloud',
          outDir: options.dir,
          now: now(),
        }),
      )
    },
  )
}

function addInspect({ certs, say, now, onAlarm }: Parts): void {
  certs
    .command('inspect <files...>')
    .description('show what certificate files say; ends with 1 if one of them has ended, or will soon')
    .option('--within <days>', 'what is soon', countOf, renewDays)
    .action(async (files: string[], { within }: { within: number }) => {
      const { inspectCertificate } = await import('./inspect.ts')
      for (const file of files) {
        const report = inspectCertificate(file, now())
        say(file)
        say(`  subject      ${report.subject}`)
        say(`  issuer       ${report.issuer}`)
        say(`  kind         ${report.kind}`)
        say(`  names        ${report.alternativeNames.join(', ') || 'none'}`)
        say(`  valid from   ${report.notBefore.toISOString()}`)
        say(`  valid until  ${report.notAfter.toISOString()} (${daysLeftInWords(report.daysLeft)})`)
        say(`  sha-256      ${report.fingerprint256}`)
        say(`  key          ${report.keyFingerprint}`)
        if (report.daysLeft >= within) continue
        onAlarm()
        say(`  RENEW IT     ${daysLeftInWords(report.daysLeft)}, and less than ${within} is too few`)
      }
    })
}

function addDevelopment({ certs, say, now }: Parts): void {
  issuing(certs, 'development', 'issue everything a Tidegate on one machine needs')
    .option('--devices <count>', 'number of devices: sensor-001, sensor-002, …', countOf, 10)
    .option('--gateway <name>', 'the name of the gateway', 'gateway-1')
    .option('--host <hosts...>', 'further DNS names and addresses of the edge listener', [])
    .action(async (options: IssueOptions & { devices: number; gateway: string; host: string[] }) => {
      const { issueDevelopmentPki } = await import('./development.ts')
      const { dir, devices: count, host: hostnames, ...rest } = options
      const devices = Array.from(
        { length: count },
        (_, index) => `sensor-${String(index + 1).padStart(3, '0')}`,
      )
      const pki = await issueDevelopmentPki(dir, { ...rest, devices, hostnames, now: now() })
      say(`${pki.authority.created ? 'made' : 'kept'}    ${pki.caFile}`)
      for (const one of [pki.edge, pki.broker, pki.gateway, pki.cloud]) sayIssued(say, one)
      const fresh = pki.devices.filter((device) => device.issued).length
      say(`${count} devices in ${join(dir, 'devices')}: ${fresh} issued, ${count - fresh} kept`)
      sayExample(say, pki.caFile, pki.devices)
    })
}

function sayExample(say: Parts['say'], caFile: string, [device]: IssuedCertificate[]): void {
  if (device === undefined) return
  const { commonName, certFile, keyFile } = device
  say('')
  say(`Publish as ${commonName}:`)
  say(
    `  mosquitto_pub -h localhost -p 8883 --cafile ${quoted(caFile)} --cert ${quoted(certFile)} --key ${quoted(keyFile)} \\`,
  )
  say(`    -i ${commonName} -q 1 -t devices/${commonName}/events/com.acme.climate -m '{"temperature":21.5}'`)
}
