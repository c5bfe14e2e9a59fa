import { readFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { Option } from 'commander'
import { systemClock } from '../src/clock.ts'
import { aborted, untilSignal } from '../src/lifecycle.ts'
import { quoted } from '../src/settings/shell.ts'
import { wholeNumber } from '../src/settings/command-line.ts'
import { renewDays } from '../src/tls-files.ts'
import {
  countOf,
  daysLeftInWords,
  onFolder,
  openedAuthority,
  type Parts,
  sayIssued,
} from './command-parts.ts'
import type { Holder } from './register.ts'

/** What is done to certificates after the first day: those whose keys stay elsewhere, and those that end. */
export function registerFleetCommands(parts: Parts): void {
  addSign(parts)
  addList(parts)
  addRenew(parts)
  addBootstrap(parts)
  addRevoke(parts)
  addSuspend(parts)
  addServe(parts)
}

interface SignOptions {
  dir: string
  as: 'device' | 'gateway' | 'cloud' | 'server'
  name?: string
  out?: string
  dns?: string[]
  ip?: string[]
  days?: number
  force?: boolean
}

function asRole(): Option {
  return new Option('--as <role>', 'what they are for')
    .choices(['device', 'gateway', 'cloud', 'server'])
    .default('device')
}

function addSign({ certs, say, now }: Parts): void {
  onFolder(certs, 'sign <requests...>', 'issue certificates for keys that stay where they are (PKCS #10)')
    .addOption(asRole())
    .option('--name <name>', 'who it is for, if the request does not say so')
    .option('--out <dir>', 'where the certificates go (default: devices/, gateways/ or the folder itself)')
    .option('--dns <names...>', 'DNS names of a server')
    .option('--ip <addresses...>', 'addresses of a server')
    .option('--days <days>', 'days of validity', countOf)
    .option('--force', 'also if a certificate for another key is there')
    .action(async (files: string[], { dir, as, name, out, dns, ip, days, force }: SignOptions) => {
      const authority = await openedAuthority(dir, now())
      const [{ readSigningRequest, signRequest }, { folderOf }] = await Promise.all([
        import('./sign.ts'),
        import('./register.ts'),
      ])
      for (const file of files) {
        const request = await readSigningRequest(file)
        const holder: Holder = {
          commonName: name ?? request.commonName ?? '',
          ...(as === 'server' ? { kind: 'server' } : { kind: 'client', role: as }),
          dnsNames: dns ?? [],
          ipAddresses: ip ?? [],
        }
        const { certFile, issued } = await signRequest(authority, request, {
          ...holder,
          ...(days !== undefined && { days }),
          ...(force !== undefined && { force }),
          outDir: out ?? join(dir, folderOf(as)),
          now: now(),
        })
        say(`${issued ? 'issued' : 'kept  '}  ${certFile}  for the key that signed ${file}`)
      }
    })
}

interface Within {
  dir: string
  within: number
}

function addList({ certs, say, now, onAlarm }: Parts): void {
  onFolder(
    certs,
    'list',
    'show the certificates in the folder, soonest to end first; ends with 1 if one ends',
  )
    .option('--within <days>', 'what is soon', countOf, renewDays)
    .option('--json', 'one JSON object a line')
    .action(async ({ dir, within, json }: Within & { json?: boolean }) => {
      const authority = await openedAuthority(dir, now())
      const { listFleet } = await import('./fleet.ts')
      const fleet = await listFleet(authority, { withinDays: within, now: now() })
      for (const one of fleet) {
        if (json) say(JSON.stringify(one))
        else
          say(
            [
              one.state.padEnd(9),
              daysLeftInWords(one.daysLeft).padStart(20),
              ` ${one.role.padEnd(9)}`,
              one.commonName,
              one.keyHere ? '' : '(its key is not here)',
            ]
              .join(' ')
              .trimEnd(),
          )
      }
      const alarming = fleet.filter(
        ({ state, role }) => (state === 'ending' || state === 'ended') && role !== 'bootstrap',
      ).length
      if (alarming > 0) onAlarm()
      if (!json) say(`${fleet.length} certificates, ${alarming} of them with fewer than ${within} days left`)
    })
}

function addRenew({ certs, say, now }: Parts): void {
  onFolder(
    certs,
    'renew [files...]',
    'issue anew what ends soon, or these files, for whom they are; a key that is not here stays the same',
  )
    .option('--within <days>', 'what is soon', countOf, renewDays)
    .option('--days <days>', 'days of validity', countOf)
    .action(async (files: string[], { dir, within, days }: Within & { days?: number }) => {
      const authority = await openedAuthority(dir, now())
      const { listFleet, renewCertificate } = await import('./fleet.ts')
      const fleet = await listFleet(authority, { withinDays: within, now: now() })
      const ending = fleet.filter(
        ({ state, role }) => (state === 'ending' || state === 'ended') && role !== 'bootstrap',
      )
      const chosen = files.length > 0 ? files : ending.map(({ certFile }) => certFile)
      for (const file of chosen) {
        const { newKey } = await renewCertificate(authority, file, {
          ...(days !== undefined && { days }),
          now: now(),
        })
        say(`renewed  ${file}  ${newKey ? 'with a new key' : 'for the same key'}`)
      }
      if (chosen.length === 0) say(`nothing in ${dir} has fewer than ${within} days left`)
    })
}

function addBootstrap({ certs, say, now }: Parts): void {
  onFolder(
    certs,
    'bootstrap <ids...>',
    'issue what gets a new device its first certificate, once (see `certs serve`)',
  )
    .option('--days <days>', 'days in which it is good (default 7)', countOf)
    .action(async (ids: string[], { dir, days }: { dir: string; days?: number }) => {
      const authority = await openedAuthority(dir, now())
      const { issueBootstrap } = await import('./enrolment.ts')
      for (const id of ids)
        sayIssued(
          say,
          await issueBootstrap(authority, id, { ...(days !== undefined && { days }), now: now() }),
        )
    })
}

function addRevoke({ certs, say, now }: Parts): void {
  onFolder(
    certs,
    'revoke [names...]',
    "take all certificates of somebody back: put them on the CA's revocation list (ca.crl); renew the list",
  )
    .addOption(asRole())
    .option('--days <days>', 'days until the list is to be replaced (default: 30)', countOf)
    .action(async (names: string[], { dir, as, days }: Pick<SignOptions, 'dir' | 'as' | 'days'>) => {
      const authority = await openedAuthority(dir, now())
      const { revokeHolders } = await import('./revoke.ts')
      const options = { now: now(), ...(days !== undefined && { days }) }
      const holders = names.map((commonName) => ({ role: as, commonName }))
      const list = await revokeHolders(authority, holders, options)
      for (const { what, serialNumber, already } of list.certificates)
        say(`${already ? 'kept   ' : 'revoked'}  ${what}  ${serialNumber}`)
      say(
        `${list.written ? 'signed ' : 'kept   '}  ${list.crlFile}  ${list.listed} listed, until ${list.nextUpdate.toISOString()}`,
      )
    })
}

function addSuspend({ certs, say, now }: Parts): void {
  onFolder(
    certs,
    'suspend <devices...>',
    'shut devices out until they are resumed: name them in denied.txt, for mqtt.tls.denied or `lists publish`',
  )
    .option('--reason <text>', 'why, for whoever reads the file')
    .action(async (devices: string[], { dir, reason }: { dir: string; reason?: string }) => {
      const authority = await openedAuthority(dir, now())
      const { suspendDevices, suspendedFile } = await import('./revoke.ts')
      for (const { commonName, already } of await suspendDevices(authority, devices, { now: now(), reason }))
        say(`${already ? 'kept     ' : 'suspended'}  ${commonName}  ${suspendedFile(authority)}`)
    })
  onFolder(certs, 'resume <devices...>', 'let suspended devices in again').action(
    async (devices: string[], { dir }: { dir: string }) => {
      const authority = await openedAuthority(dir, now())
      const { resumeDevices, suspendedFile } = await import('./revoke.ts')
      await resumeDevices(authority, devices)
      for (const device of devices) say(`resumed    ${device}  ${suspendedFile(authority)}`)
    },
  )
}

interface ServeOptions {
  dir: string
  host: string
  port: number
  dns?: string[]
  ip?: string[]
  days?: number
}

function addServe({ certs, say, now }: Parts): void {
  onFolder(certs, 'serve', 'let devices enrol and renew by themselves (EST, RFC 7030), until it is stopped')
    .option('--host <address>', 'the address to listen on', '127.0.0.1')
    .option('--port <port>', 'the port to listen on', wholeNumber({ min: 0, max: 65_535 }), 9443)
    .option('--dns <names...>', 'DNS names devices connect to (default: localhost and this machine)')
    .option('--ip <addresses...>', 'addresses devices connect to (default: 127.0.0.1 and ::1)')
    .option('--days <days>', 'days of validity of what is issued', countOf)
    .action(async ({ dir, host, port, dns, ip, days }: ServeOptions) => {
      const authority = await openedAuthority(dir, now())
      const [{ issueCertificate }, { startEst }] = await Promise.all([
        import('./issue.ts'),
        import('./est.ts'),
      ])
      const signal = untilSignal(process)
      const { certFile, keyFile } = await issueCertificate(authority, {
        commonName: 'enrolment',
        kind: 'server',
        dnsNames: dns ?? [...new Set(['localhost', hostname()])],
        ipAddresses: ip ?? ['127.0.0.1', '::1'],
        outDir: dir,
        now: now(),
      })
      const server = await startEst({
        authority,
        cert: await readFile(certFile),
        key: await readFile(keyFile),
        host,
        port,
        days,
        now,
        clock: systemClock,
        say,
      })
      say(`Devices enrol at https://${host}:${server.port}/.well-known/est/simpleenroll, with what`)
      say(`\`tidegate certs bootstrap <id> --dir ${quoted(dir)}\` has issued. Stop it with Ctrl-C.`)
      await aborted(signal)
      await server.close()
    })
}
