import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Deeds } from '../../../cloud/deeds/deeds.ts'
import { TidegateError } from '../../../src/errors.ts'
import { type Outcome, run } from '../../../dev/servers/command.ts'
import { canary, canaryIn, seeded, seedFailures } from '../../support/cloud/seeded-failures.ts'
import { type ServedApi, serveApi } from '../../support/cloud/served-api.ts'

const tidegate = join(import.meta.dirname, '../../../dist/cli/tidegate.js')
let served: ServedApi
const done: { verb: string; asked: unknown }[] = []

const noted =
  (verb: string, answer: unknown) =>
  async (asked: unknown): Promise<never> => {
    done.push({ verb, asked })
    return answer as never
  }
const preview = {
  letters: 75,
  byFingerprint: [{ fingerprint: seeded.fingerprint, group: 'alerts', code: 'SITE_UNKNOWN', letters: 75 }],
  byDevice: [{ device: 'sensor-1', letters: 75 }],
  schema: { checked: 75, accepted: 70, refused: 5 },
  parked: [],
  heldGroups: [],
  unvetted: 0,
}
const deeds = {
  preview: noted('preview', preview),
  replay: noted('replay', { replay: 1, total: 5 }),
  previewHistory: noted('preview-history', {
    group: 'alerts',
    events: 3,
    isWhole: true,
    byType: [{ type: 'com.acme.power', events: 3 }],
    keepsInbox: true,
  }),
  resumeReplay: noted('resume', {}),
  stopReplay: noted('stop', {}),
  discard: noted('discard', { discarded: 3, total: 3, done: true }),
  edit: noted('edit', { letter: 1, state: 'open', version: 'v2' }),
  admit: async () => {
    throw new TidegateError('ADMISSION_REFUSED', {
      message: 'it is no reading',
      retryable: false,
      hint: 'see it',
    })
  },
} as unknown as Deeds

const trialDeeds = {
  edit: noted('try-edit', { letter: 1, state: 'open', version: 'v2' }),
  discard: async () => {
    throw new TidegateError('FILTER_EMPTY', { message: 'none', retryable: false, hint: 'say which' })
  },
  admit: deeds.admit.bind(deeds),
} as unknown as Deeds

beforeAll(async () => {
  served = await serveApi({}, deeds, trialDeeds)
  await seedFailures(served.databaseUrl, 75)
})
afterAll(() => served.close())

/** As the owner of the machine. */
const local = (...args: string[]): Promise<Outcome> => command([...args, '--config', served.configFile])
const command = (args: string[], env: Record<string, string> = {}): Promise<Outcome> =>
  run({ file: process.execPath, args: [tidegate, ...args], env: { PATH: process.env['PATH'], ...env } })
const remote = async (role: 'viewer' | 'operator', ...args: string[]): Promise<Outcome> =>
  command([...args, '--api', served.url], { TIDEGATE_TOKEN: await served.tokenOf(role) })

describe('the command line, over the API', () => {
  test('shows causes, letters, parked devices and quarantined readings, each line within 80 columns', async () => {
    const shown = await Promise.all([
      local('dead', 'groups'),
      local('dead', 'list', '--limit', '60'),
      local('dead', 'quarantine'),
      local('dead', 'replays'),
      local('parked', 'list', 'alerts'),
      local('groups', 'list'),
    ])
    for (const { code, stdout, stderr } of shown) {
      expect([code, stderr]).toEqual([0, ''])
      const lines = stdout.trimEnd().split('\n')
      expect(lines.length).toBeGreaterThan(1)
      for (const line of lines) expect(line.length, line).toBeLessThanOrEqual(80)
    }
    const [causes, letters] = shown
    expect(causes?.stdout).toContain(seeded.fingerprint)
    expect(causes?.stdout).toContain(' 75 ')
    expect(letters?.stdout).toContain('… and more')
  })

  test('shows a letter with its story; without the right to payloads not a byte of it', async () => {
    const whole = await local('dead', 'show', '1')
    expect(whole.stdout).toContain(`"data": "${canary}"`)
    expect(whole.stdout).toContain('1. 2026-11-27T08:00:00.000Z  SITE_UNKNOWN')
    const seen = await remote('viewer', 'dead', 'show', '1')
    expect([seen.code, canaryIn(seen.stdout)]).toEqual([0, false])
    expect(seen.stdout).toContain('which need the right "payload"')
  })

  test('is JSON for programs, and says by its exit code if anything was found', async () => {
    const { stdout } = await local('dead', 'list', '--json', '--limit', '10000')
    expect((JSON.parse(stdout) as { items: object[] }).items).toHaveLength(75)
    expect((await local('dead', 'list', '--exit-code')).code).toBe(1)
    expect((await local('dead', 'list', '--exit-code', '--code', 'OTHER')).code).toBe(0)
  })

  test('replays out of history after a dry run, and not everything by mistake; goes on with one that has stopped', async () => {
    done.length = 0
    const of = ['--to', 'alerts', '--type', 'com.acme.power', '--generation', '2026-fix']
    const dry = await local('replay', ...of, '--dry-run')
    expect([dry.code, dry.stdout]).toEqual([0, expect.stringContaining('would send 3 events to alerts')])
    expect(dry.stdout).toContain('once for the generation 2026-fix')
    const all = await local('replay', '--to', 'alerts', '--reason', 'why')
    expect([all.code, all.stderr]).toEqual([2, expect.stringContaining('--from beginning')])
    const started = await local(
      'replay',
      ...of,
      '--from',
      '2h',
      '--rate',
      '500/s',
      '--reason',
      'why',
      '--detach',
    )
    expect([started.code, started.stdout]).toEqual([0, 'replay 1: of 5 positions\n'])
    expect(started.stderr).toMatch(/^the same again: --key \S+ --from \S+Z\n$/)
    expect(done.map(({ verb }) => verb)).toEqual(['preview-history', 'replay'])
    expect(done[1]?.asked).toMatchObject({
      request: {
        history: { group: 'alerts', types: ['com.acme.power'] },
        generation: '2026-fix',
        ratePerSecond: 500,
      },
    })
    const [resumed, shown] = await Promise.all([
      local('replay', 'resume', '1', '--reason', 'enough room now'),
      local('replay', 'show', '1'),
    ])
    expect([resumed.code, shown.code]).toEqual([0, 0])
    expect(shown.stdout).toContain('replay 1 of letters')
    expect(done.at(-1)?.verb).toBe('resume')
  })

  test('replays after a dry run, with a reason, by cause; and shows how it goes to its end', async () => {
    done.length = 0
    const dry = await local('dead', 'replay', '--cause', seeded.fingerprint, '--dry-run')
    expect([dry.code, dry.stdout]).toEqual([1, expect.stringContaining('accept 70 and refuse 5')])
    const silent = await local('dead', 'replay', '--cause', seeded.fingerprint)
    expect([silent.code, silent.stderr]).toEqual([2, expect.stringContaining('needs a reason')])
    const key = '6f1ad3a4-8d0c-4c33-a7a5-4f7c28a6a6f1'
    const how = ['--rate', '50/s', '--ramp', '1,10', '--stop-at', '10%', '--since', '2h', '--key', key]
    const replayed = await local(
      'dead',
      'replay',
      '--cause',
      seeded.fingerprint,
      '--reason',
      'site is there',
      ...how,
    )
    expect(replayed.code).toBe(0)
    expect(replayed.stdout).toContain('replay 1: 5 letters')
    const line = /^the same again: --key (\S+) --since (\S+Z)\n\[-+\] +0%  0 of 5, done\n$/.exec(
      replayed.stderr,
    )
    expect(line?.[1]).toBe(key)
    expect(Date.now() - Date.parse(line?.[2] ?? '')).toBeGreaterThanOrEqual(7_200_000)
    expect(done.map(({ verb }) => verb)).toEqual(['preview', 'replay'])
    expect(done[1]?.asked).toMatchObject({
      key,
      reason: 'site is there',
      request: {
        filter: { fingerprint: seeded.fingerprint },
        ratePerSecond: 50,
        ramp: [1, 10],
        stopAtShare: 0.1,
      },
    })
  })

  test('edits what was seen, discards, stops, and does nothing on a dry run', async () => {
    done.length = 0
    await local('dead', 'edit', '1', '--set', '/kpa=101.3', '--set', '/unit=kPa', '--reason', 'unit')
    expect(done).toMatchObject([
      {
        verb: 'edit',
        asked: {
          request: {
            letter: 1,
            patch: [
              { op: 'add', path: '/kpa', value: 101.3 },
              { op: 'add', path: '/unit', value: 'kPa' },
            ],
            ifMatch: expect.any(String) as string,
          },
        },
      },
    ])
    const dry = await Promise.all([
      local('dead', 'edit', '1', '--set', '/kpa=1', '--dry-run'),
      local('dead', 'stop', '1', '--dry-run'),
      local('dead', 'note', seeded.fingerprint, '--owner', 'bob', '--dry-run'),
      local('groups', 'pause', 'alerts', '--dry-run'),
    ])
    expect(dry.map(({ code, stderr }) => [code, stderr])).toEqual(dry.map(() => [0, '']))
    // They look, too.
    expect(dry[1]?.stdout).toBe('replay 1 is done: nothing would change\n')
    expect(dry[2]?.stdout).toBe(`would change ${seeded.fingerprint}, of alerts:\n  owner: none -> bob\n`)
    expect(done.map(({ verb }) => verb)).toEqual(['edit', 'try-edit'])
    expect((await local('groups', 'list')).stdout).not.toContain('paused')
    done.length = 1
    const discarded = await local('dead', 'discard', '--group', 'alerts', '--reason', 'test rig')
    expect(discarded.stdout).toBe('discarded 3 letters\n')
    expect((await local('dead', 'stop', '1', '--reason', 'x')).code).toBe(0)
    expect(done.map(({ verb }) => verb)).toEqual(['edit', 'discard', 'stop'])
  })

  test('is done with a discard that a cloud of before has answered, which does not say that it is', async () => {
    const before = createServer((request, response) => {
      asked.push(request.url ?? '')
      response.setHeader('content-type', 'application/json')
      // Asked for ever it would never end.
      response.end(JSON.stringify(asked.length > 5 ? { discarded: 0, done: true } : { discarded: 3 }))
    })
    const asked: string[] = []
    await new Promise<void>((done) => before.listen(0, '127.0.0.1', done))
    const api = `http://127.0.0.1:${(before.address() as AddressInfo).port}`
    const discard = (...more: string[]): Promise<Outcome> =>
      command(['dead', 'discard', '--group', 'g', '--reason', 'r', '--api', api, ...more], {
        TIDEGATE_TOKEN: 'of-before',
      })
    try {
      expect(await discard()).toMatchObject({ code: 0, stdout: 'discarded 3 letters\n' })
      expect(await discard('--dry-run')).toMatchObject({ code: 0, stdout: 'would discard 3 letters\n' })
      expect(asked).toHaveLength(2)
    } finally {
      before.close()
    }
  })

  test('refuses on a dry run what it would refuse', async () => {
    const refused = await Promise.all([
      local('dead', 'discard', '--group', 'alerts', '--dry-run'),
      local('dead', 'admit', `gateway-1/${seeded.epoch}/7`, '--dry-run'),
      local('groups', 'pause', 'nobody', '--dry-run'),
      local('groups', 'resume', 'alerts', '--dry-run'),
    ])
    expect(refused.map(({ code, stderr }) => [code, /code: {2}(\w+)/.exec(stderr)?.[1]])).toEqual([
      [3, 'FILTER_EMPTY'],
      [3, 'ADMISSION_REFUSED'],
      [3, 'GROUP_UNKNOWN'],
      [3, 'GROUP_NOT_PAUSED'],
    ])
  })

  test('names a group’s cause, pauses and resumes a group', async () => {
    const note = await local('dead', 'note', seeded.fingerprint, '--owner', 'bob', '--reason', 'mine')
    expect(note.code).toBe(0)
    expect((await local('groups', 'pause', 'alerts', '--for', '10m', '--reason', 'siren')).code).toBe(0)
    expect((await local('groups', 'list')).stdout).toMatch(/alerts +paused/)
    expect((await local('groups', 'resume', 'alerts', '--reason', 'mended')).code).toBe(0)
  })

  test('releases and skips what is parked, one device or those of a code, with a reason; a dry run does nothing', async () => {
    const ask = (...args: string[]): Promise<Outcome> =>
      remote('operator', 'parked', ...args, '--reason', 'mended')
    const skipAll = ['skip', 'alerts', '--all', '--dry-run'] as const
    await served.database.query('delete from tidegate.members')
    expect((await ask(...skipAll)).stderr).toContain('GROUP_NOT_RUNNING')
    await served.database.query(
      `insert into tidegate.members (consumer_group, instance, seen_at, queue_generation)
       values ('alerts', 'cloud-1', clock_timestamp(), 2)`,
    )
    expect((await ask(...skipAll)).stdout).toContain('1 parked devices of alerts would be skipped')
    const skip = 'select skip from tidegate.parked_devices'
    expect((await served.database.query(skip)).map((row) => row)).toEqual([{ skip: null }])
    const released = await ask('release', 'alerts', seeded.device, '--json')
    expect(JSON.parse(released.stdout)).toEqual({ group: 'alerts', devices: 1, inHand: 0 })
    expect((await ask('release', 'alerts', '--code', 'ANOTHER')).stdout).toContain('0 parked devices')
    const absent = await ask('release', 'alerts', 'nobody')
    expect([absent.code, absent.stderr]).toEqual([3, expect.stringContaining('DEVICE_NOT_PARKED')])
    expect((await ask('skip', 'alerts', '--code', 'SITE_UNKNOWN')).stdout).toContain(
      '1 parked devices of alerts are skipped',
    )
    expect(await served.database.query(`${skip} where skip is not null`)).toHaveLength(1)
    const viewer = await remote('viewer', 'parked', 'release', 'alerts', '--reason', 'x')
    expect([viewer.code, viewer.stderr]).toEqual([3, expect.stringContaining('RIGHT_MISSING')])
  })

  test('is refused with exit code 3, and not understood with 2', async () => {
    const refused = await remote('viewer', 'dead', 'discard', '--group', 'alerts', '--reason', 'x')
    expect([refused.code, refused.stderr]).toEqual([3, expect.stringContaining('RIGHT_MISSING')])
    const admitted = await local('dead', 'admit', `gateway-1/${seeded.epoch}/7`, '--reason', 'x')
    expect([admitted.code, admitted.stderr]).toEqual([3, expect.stringContaining('ADMISSION_REFUSED')])
    for (const args of [
      ['dead', 'show', 'x'],
      ['dead', 'list'],
      ['dead', 'admit', 'a/b'],
      ['token', 'mint', '--role', 'root'],
    ])
      expect([args, (await command(args)).code]).toEqual([args, 2])
    const away = await command(['dead', 'list', '--api', 'http://127.0.0.1:9'], { TIDEGATE_TOKEN: 'a.b.c' })
    expect([away.code, away.stderr]).toEqual([1, expect.stringContaining('API_UNREACHABLE')])
  })

  test('takes a token from the environment alone, mints one where the machine is its own, and prints nothing else', async () => {
    const { stdout, stderr } = await local(
      'token',
      'mint',
      '--role',
      'viewer',
      '--for',
      '10m',
      '--reason',
      'on call',
      '--subject',
      'bob',
    )
    expect(stdout.trim().split('.')).toHaveLength(3)
    const seen = await command(['dead', 'groups', '--api', served.url], { TIDEGATE_TOKEN: stdout.trim() })
    expect(seen.code).toBe(0)
    const [, jti = ''] = /token (\S+) of bob/.exec(stderr) ?? []
    expect((await local('token', 'list')).stdout).toContain(jti)
    expect((await local('token', 'revoke', jti, '--dry-run')).stdout).toMatch(
      new RegExp(`^would take ${jti} back, of \\S+ \\(.*\\), good until 20`),
    )
    expect((await local('token', 'revoke', jti, '--reason', 'lost')).code).toBe(0)
    expect((await local('token', 'revoke', jti, '--dry-run')).stdout).toContain('nothing would change')
    const gone = await command(['dead', 'groups', '--api', served.url], { TIDEGATE_TOKEN: stdout.trim() })
    expect([gone.code, gone.stderr]).toEqual([3, expect.stringContaining('taken back')])
    const inClear = await command(['dead', 'list', '--api', 'http://cloud.example'], {
      TIDEGATE_TOKEN: 'a.b.c',
    })
    expect(inClear.stderr).toContain('CONNECTION_IN_CLEAR')
    const withUser = await command(['dead', 'list', '--api', 'https://a:b@cloud.example'], {
      TIDEGATE_TOKEN: 'a.b.c',
    })
    expect(withUser.code).toBe(2)
  })

  test('shows nothing that a terminal would obey', async () => {
    const file = join(served.folder, 'patch.json')
    writeFileSync(file, '{"no": "list"}')
    const wrong = await local('dead', 'edit', '1', '--patch', file, '--reason', 'x')
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('no list of operations')])
    await served.database.query(`update tidegate.failure_groups set message = $1`, ['\u001b[2Jgone'])
    const shown = await local('dead', 'groups')
    expect(shown.stdout).not.toContain('\u001b')
    expect(shown.stdout).toContain('\\u{1b}[2Jgone')
    const said = 'red\u009b31m\u202e\u007f\nstate  resolved'
    await served.database.query(`update tidegate.dead_letters set message = $1 where letter = 1`, [said])
    const inJson = (await local('dead', 'show', '1', '--json')).stdout
    // oxlint-disable-next-line no-control-regex -- control characters are what it is about
    expect(inJson).not.toMatch(/[\u007f-\u009f\u202e]/)
    expect((JSON.parse(inJson) as { message: string }).message).toBe(said)
    const inText = (await local('dead', 'show', '1')).stdout.split('\n')
    expect(inText.filter((line) => line.startsWith('state '))).toHaveLength(1)
  })
})
