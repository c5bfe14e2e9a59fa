import { postgresParking } from '../../../cloud/parking/parking-postgres.ts'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadApiFiles, type RunningApi, startApi } from '../../../cloud/api/api.ts'
import { postgresEvents } from '../../../cloud/api/reads/events-postgres.ts'
import { postgresReads } from '../../../cloud/api/reads/reads-postgres.ts'
import { apiConfigSchema } from '../../../cloud/api/rules/settings.ts'
import type { Role } from '../../../cloud/api/rules/roles.ts'
import { mint } from '../../../cloud/api/tokens/mint.ts'
import { loadOwnKey } from '../../../cloud/api/tokens/own-key.ts'
import { postgresTokens } from '../../../cloud/api/tokens/tokens-postgres.ts'
import { trialStorage } from '../../../cloud/api/writes/trial-storage.ts'
import type { Workplace } from '../../../cloud/api/routes/workplace.ts'
import type { Storage } from '../../../cloud/database/storage.ts'
import type { DoOnce } from '../../../cloud/api/writes/do-once.ts'
import { postgresWorkplace } from '../../../cloud/api/writes/workplace-postgres.ts'
import { createDatabase as poolOf, type Database } from '../../../cloud/database/database-postgres.ts'
import { doOnce } from '../../../cloud/deeds/deed-record.ts'
import type { Deeds } from '../../../cloud/deeds/deeds.ts'
import { postgresStorage } from '../../../cloud/database/storage-postgres.ts'
import { createSchemas } from '../../../cloud/reading/schemas.ts'
import { postgresSchemaDesk } from '../../../cloud/schemas/apply/desk-postgres.ts'
import { systemClock } from '../../../src/clock.ts'
import { silentLog } from '../../../src/log.ts'
import { createReadyDatabase, type Role as DatabaseRole, urlAs } from '../servers.ts'
import { newOwnKey } from './test-api.ts'

export interface ServedApi {
  databaseUrl: string
  database: Database
  folder: string
  keyFile: string
  socket: string
  url: string
  api: RunningApi
  /** A configuration of a cloud, for commands. */
  configFile: string
  tokenOf(role: Role | readonly Role[], more?: { groups?: string[]; types?: string[] }): Promise<string>
  get(path: string, token: string): Promise<Response>
  close(): Promise<void>
}

/** The API over a real database, as the cloud's own user, on a port and on a socket. */
export async function serveApi(more: object = {}, deeds?: Deeds, trialDeeds?: Deeds): Promise<ServedApi> {
  const databaseUrl = await createReadyDatabase()
  const urlOf = (role: DatabaseRole): string => urlAs(role, databaseUrl)
  const database = poolOf({ url: urlOf('writer'), poolMax: 4, applicationName: 'test', statementMsMax: 5000 })
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-api-'))
  const keyFile = join(folder, 'api.key')
  writeFileSync(keyFile, newOwnKey().privateKey.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 })
  const socket = join(folder, 'api.sock')
  const config = apiConfigSchema.parse({
    port: 0,
    socket,
    tokens: { key: keyFile },
    requestsPerSecond: 1000,
    ...more,
  })
  const tokens = postgresTokens(database)
  const storage = postgresStorage(database)
  const signal = new AbortController().signal
  const workplaceOn = (on: Storage): Workplace => {
    const once: DoOnce = (verb, deed, work) =>
      doOnce(verb, deed, { storage: on, clock: systemClock, random: Math.random, signal }, work)
    return postgresWorkplace({ doOnce: once, parkingIn: postgresParking })
  }
  const trial = { deeds: trialDeeds as Deeds, workplace: workplaceOn(trialStorage(storage)) }
  const events = postgresEvents(database, { clock: systemClock, log: silentLog })
  const parts = {
    deeds,
    events,
    reads: postgresReads(database),
    tokens,
    workplace: workplaceOn(storage),
    trial,
    schemas: postgresSchemaDesk({
      storage,
      database,
      clock: systemClock,
      random: Math.random,
      signal,
      formats: 'checked',
      inUse: () =>
        createSchemas({ origin: 'none', unchecked: 'accept', formats: 'checked', log: silentLog }).inUse,
    }),
  }
  const observer = { answered: () => {}, refused: () => {} }
  const surroundings = { cutOff: new AbortController(), clock: systemClock, log: silentLog }
  const files = loadApiFiles(config, systemClock)
  const api = await startApi({ config, files, parts, observer, ...surroundings })
  const url = `${config.tls ? 'https' : 'http'}://127.0.0.1:${api.port}`
  const configFile = join(folder, 'cloud.yaml')
  writeFileSync(configFile, JSON.stringify({ api: { socket } }))
  return {
    databaseUrl,
    database,
    folder,
    keyFile,
    socket,
    url,
    api,
    configFile,
    async tokenOf(role, more = {}) {
      const roles = typeof role === 'string' ? [role] : role
      const wish = { subject: `a-${roles.join('-')}`, roles, forMs: 3_600_000, ...more }
      const minting = { key: loadOwnKey(keyFile), issuer: 'tidegate', audience: 'tidegate', tokens }
      return (await mint(wish, { ...minting, nowMs: systemClock.now() })).token
    },
    get: (path, token) => fetch(url + path, { headers: { authorization: `Bearer ${token}` } }),
    async close() {
      events.streams.close()
      await api.close()
      await database.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
