import { hostname } from 'node:os'
import { resolve } from 'node:path'
import { z } from 'zod'
import { faultOfAmqpUrl } from '../src/amqp/address.ts'
import { deviceIdPattern, eventTypePattern } from '../src/contract/event.ts'
import { authentication, clientTls, clientTlsPaths, refuseNameless } from '../src/settings/client-tls.ts'
import { configFolder, type Environment, loadConfig } from '../src/settings/config.ts'
import { byteSize, duration } from '../src/units.ts'
import { apiConfigSchema, apiPaths } from './api/rules/settings.ts'
import { handlerLimits, rungLimits, typePatternPattern } from './pipeline/definition-check.ts'
import { rollupsDefault, type RollupsOptions, rollupWidths } from './projections/built-in/rollups.ts'
import { versionMax } from './projections/definition.ts'

const file = z.string().min(1)
const ladder = z.array(duration(rungLimits)).max(10)
const patterns = z
  .array(z.string().regex(typePatternPattern, 'must be a pattern such as battery.* or #'))
  .min(1)
/** Less is within what a device is late by. */
const keepLimits = { min: '1d', max: '36500d' }

/** What was a consumer: whoever has configured it is told where it is now. */
const formerConsumer = z
  .unknown()
  .superRefine((value, context) => {
    context.addIssue(
      value === 'rollups'
        ? {
            code: 'custom',
            message: 'is a projection by now: name it in projections, where it is by default',
          }
        : { code: 'invalid_type', expected: 'never' },
    )
  })
  .pipe(z.never())

/** A version of rollups other than the first; fields that are absent are as in that. */
const rollupsConfig = z
  .strictObject({
    version: z.int().min(1).max(versionMax),
    types: patterns.default([...rollupsDefault.types]),
    fields: patterns.default([...rollupsDefault.fields]),
    widths: z
      .array(z.enum(rollupWidths))
      .min(1)
      .default([...rollupsDefault.widths]),
    versions: z
      .record(
        z.string().regex(eventTypePattern, 'must be an event type such as com.acme.climate'),
        z.int().min(1),
      )
      .default({}),
    keep: z.partialRecord(z.enum(rollupWidths), duration(keepLimits)).default({}),
  })
  .transform(({ keep, ...rest }): RollupsOptions => ({ ...rest, keepMs: keep }))
const instancePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

function hasReadableCredentials(url: string): boolean {
  try {
    const { username, password } = new URL(url)
    decodeURIComponent(username + password)
    return true
  } catch {
    return false
  }
}

function refuseUrl(faultOf: (url: string) => string | undefined) {
  return (url: string, context: z.RefinementCtx): void => {
    const message = faultOf(url)
    if (message !== undefined) context.addIssue({ code: 'custom', message })
  }
}

/** Everything `tidegate cloud` can be told. docs/CONFIGURATION.md explains each key. */
export const cloudConfigSchema = z
  .strictObject({
    instance: z
      .string()
      .regex(instancePattern, 'must be 1–64 letters, digits, dots, dashes or underscores')
      .default(() => `${hostname()}-${process.pid}`.slice(-64).replace(/^[^A-Za-z0-9]+/, '')),
    broker: z
      .strictObject({
        url: z
          .url({ protocol: /^amqps?$/, error: 'must be an amqp:// or amqps:// URL' })
          .superRefine(refuseUrl(faultOfAmqpUrl))
          .default('amqp://127.0.0.1:5672'),
        auth: authentication,
        passwordFile: file.optional(),
        insecure: z.boolean().default(false),
        tls: clientTls.optional(),
        management: z
          .url({ protocol: /^https?$/, error: 'must be an http:// or https:// URL' })
          .refine(hasReadableCredentials, {
            message: 'user and password must be percent-encoded: a % in them is written %25',
          })
          .optional(),
      })
      .superRefine(refuseNameless)
      .prefault({}),
    database: z
      .strictObject({
        url: z
          .url({ protocol: /^postgres(ql)?$/, error: 'must be a postgres:// URL' })
          .default('postgres://tidegate@127.0.0.1:5432/tidegate'),
        passwordFile: file.optional(),
        insecure: z.boolean().default(false),
        poolMax: z.int().min(2).max(200).optional(),
      })
      .prefault({}),
    partitions: z.int().min(1).max(100).default(16),
    gateways: z
      .strictObject({
        users: z
          .record(z.string().regex(deviceIdPattern), z.array(z.string().min(1).max(255)).min(1))
          .default({}),
        unvouched: z.enum(['refuse', 'accept']).default('refuse'),
        unknown: z.enum(['accept', 'refuse']).default('accept'),
        withoutDevices: z.enum(['accept', 'refuse']).default('accept'),
      })
      .prefault({}),
    schemas: z
      .strictObject({
        folder: z.string().optional(),
        registry: z.enum(['folder', 'database']).default('folder'),
        unchecked: z.enum(['accept', 'reject']).default('accept'),
        wait: duration('24h', { max: '30d' }),
        formats: z.enum(['checked', 'annotation']).default('checked'),
      })
      .prefault({}),
    consumers: z
      .array(z.union([z.enum(['history']), z.strictObject({ module: z.string().min(1) }), formerConsumer]))
      .min(1)
      .default(['history']),
    projections: z
      .array(
        z.union([
          z.enum(['latest', 'devices', 'shapes', 'rollups']),
          z.strictObject({ rollups: rollupsConfig }),
          z.strictObject({ module: z.string().min(1) }),
        ]),
      )
      .max(100)
      .default(['rollups']),
    retry: z.strictObject({ ladder: ladder.optional() }).prefault({}),
    parking: z
      .strictObject({
        byDefault: z.boolean().default(true),
        concurrency: z.int().min(1).max(64).optional(),
        ladder: ladder.optional(),
        devicesMax: z.int().min(1).max(1_000_000).default(10_000),
        eventsMax: z.int().min(1).max(100_000_000).default(1_000_000),
        eventsMaxPerDevice: z.int().min(1).max(1_000_000).default(10_000),
      })
      .prefault({}),
    protection: z
      .strictObject({
        killSwitch: z.boolean().default(true),
        after: z.int().min(1).max(1_000_000).default(100),
        share: z.number().gt(0).max(1).default(0.5),
        window: duration('1m', { min: '1s', max: '1h' }),
        pause: duration('30s', { min: '1s', max: '15m' }),
      })
      .prefault({}),
    handlerTimeout: duration('30s', handlerLimits),
    batch: z
      .strictObject({
        max: z.int().min(1).max(5000).default(1000),
        timeTarget: duration('1s', { min: '1ms', max: '1h' }),
        lanes: z.int().min(1).max(64).default(4),
      })
      .prefault({}),
    prefetch: z.int().min(1).max(65_535).default(2000),
    sharing: z
      .strictObject({
        beat: duration('5s', { min: '100ms', max: '1h' }),
        goneAfter: duration('15s', { max: '24h' }),
      })
      .prefault({}),
    // Below an hour a redelivery could come after its identity is forgotten (G4).
    inbox: z
      .strictObject({
        retention: duration('14d', { min: '1h' }),
        pruneEvery: duration('1h', { min: '1s', max: '365d' }),
      })
      .prefault({}),
    // Below an hour a redelivery that was numbered twice could be stored twice (G4).
    history: z.strictObject({ dedupWindow: duration('14d', { min: '1h', max: '365d' }) }).prefault({}),
    deadLetters: z
      .strictObject({
        max: z.int().min(1).max(1_000_000_000).default(10_000_000),
        bytesMax: byteSize('10GiB', { min: '1MiB' }),
        closedRetention: duration('90d', { min: '1h' }),
        mirror: z.boolean().default(true),
      })
      .prefault({}),
    startup: z.strictObject({ timeout: duration('30s', { max: '24h' }) }).prefault({}),
    stop: z.strictObject({ grace: duration('10s', { max: '1h' }) }).prefault({}),
    ops: z
      .strictObject({
        host: z.string().default('127.0.0.1'),
        hosts: z.array(z.string().min(1)).default([]),
        port: z.int().min(0).max(65_535).default(9102),
        stallAfter: duration('1m', { min: '1s', max: '24h' }),
        starveAfter: duration('2m', { min: '1s', max: '24h' }),
      })
      .prefault({}),
    api: apiConfigSchema.prefault({}),
    log: z
      .strictObject({
        level: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
      })
      .prefault({}),
  })
  .refine((config) => config.prefetch >= config.batch.max, {
    path: ['prefetch'],
    error: 'must be at least batch.max, and better twice that',
  })
  .refine((config) => config.sharing.goneAfter >= 2 * config.sharing.beat, {
    path: ['sharing', 'goneAfter'],
    error: 'must be at least twice sharing.beat',
  })

export type CloudConfig = z.output<typeof cloudConfigSchema>

/** The configuration, with its paths resolved. @throws TidegateError as `loadConfig` does. */
export function loadCloudConfig(file: string | undefined, env: Environment): CloudConfig {
  const config = loadConfig({ schema: cloudConfigSchema, file, prefix: 'TIDEGATE_CLOUD', env })
  const folder = configFolder(file)
  const absolute = (path: string): string => resolve(folder, path)
  const { tls } = config.broker
  return {
    ...config,
    broker: {
      ...config.broker,
      ...(tls && { tls: clientTlsPaths(tls, absolute) }),
      ...absoluteFile(config.broker, absolute),
    },
    database: { ...config.database, ...absoluteFile(config.database, absolute) },
    api: apiPaths(config.api, absolute),
    schemas: {
      ...config.schemas,
      ...(config.schemas.folder !== undefined && { folder: resolve(folder, config.schemas.folder) }),
    },
    consumers: config.consumers.map((consumer) =>
      typeof consumer === 'string' ? consumer : { module: absolute(consumer.module) },
    ),
    projections: config.projections.map((projection) =>
      typeof projection === 'object' && 'module' in projection
        ? { module: absolute(projection.module) }
        : projection,
    ),
  }
}

function absoluteFile(
  { passwordFile }: { passwordFile?: string | undefined },
  absolute: (path: string) => string,
): { passwordFile?: string } {
  return passwordFile === undefined ? {} : { passwordFile: absolute(passwordFile) }
}
