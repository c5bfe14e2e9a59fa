import type { Clock } from '../../src/clock.ts'
import { TidegateError } from '../../src/errors.ts'
import { createScope } from '../../src/lifecycle.ts'
import { isLoopback } from '../../src/listen.ts'
import type { Logger } from '../../src/log.ts'
import { isCalledSo } from '../../src/ops-server.ts'
import { createThrottledWarn } from '../../src/throttle.ts'
import type { KeyPair } from '../../src/tls-files.ts'
import { userName } from '../os-user.ts'
import { type AppOptions, createApp } from './app.ts'
import { type ListenerPair, loadListenerPair, startRenewing } from './listener-tls.ts'
import type { ApiObserver } from './observer.ts'
import { allRoutes } from './routes/all.ts'
import type { Parts } from './routes/route.ts'
import type { Caller } from './rules/roles.ts'
import type { ApiConfig } from './rules/settings.ts'
import { addressOf, listenLocally, listenOnPort } from './server.ts'
import { identityProvider, ourselves } from './tokens/issuers.ts'
import { fetchKeySet } from './tokens/key-set-fetch.ts'
import { mint } from './tokens/mint.ts'
import { loadOwnKey, type OwnKey } from './tokens/own-key.ts'
import { createVerifier } from './tokens/verify.ts'

/** What the API needs of files, proven before anything is opened. */
export interface ApiFiles {
  key: OwnKey | undefined
  pair: ListenerPair | undefined
}

/** @throws TidegateError `TLS_*`, `API_KEY_UNFIT`, `API_IN_CLEAR` */
export function loadApiFiles(config: ApiConfig, clock: Pick<Clock, 'now'>, log?: Logger): ApiFiles {
  refuseInClear(config, log)
  return {
    key: config.tokens && loadOwnKey(config.tokens.key),
    pair: config.tls && loadListenerPair(config.tls, new Date(clock.now())),
  }
}

/** Tokens and payloads go over it. @throws TidegateError `API_IN_CLEAR` */
function refuseInClear({ port, host, tls, insecure }: ApiConfig, log?: Logger): void {
  if (port === undefined || tls !== undefined || isLoopback(host)) return
  const message = `the API is to listen on ${host} in clear: whoever is on the way reads tokens and what devices sent`
  if (insecure) return log?.warn({ code: 'API_IN_CLEAR' }, message)
  throw new TidegateError('API_IN_CLEAR', {
    message,
    retryable: false,
    hint: 'set api.tls, or api.host: 127.0.0.1; behind a proxy of yours that does TLS, on a network that is yours alone: api.insecure: true',
  })
}

export interface ApiOptions {
  config: ApiConfig
  files: ApiFiles
  parts: Omit<Parts, 'mint' | 'clock'>
  observer: ApiObserver
  /** Aborted at the end of the grace that what is under way has when it closes: the deeds go by its signal. */
  cutOff: AbortController
  clock: Clock
  log: Logger
}

export interface RunningApi {
  /** Undefined: it does not listen on a port. */
  readonly port: number | undefined
  close(): Promise<void>
}

/** Serves the API where the configuration says so; nowhere, if it says nothing. @throws TidegateError `PORT_TAKEN`, `LISTEN_FAILED`, `API_SOCKET_*` */
export async function startApi(options: ApiOptions): Promise<RunningApi> {
  const { config, files, cutOff, clock, log } = options
  const { connectionsMax, host, port, socket } = config
  const scope = createScope()
  const common = { connectionsMax, cutOff, clock }
  try {
    if (socket !== undefined)
      scope.own(await listenLocally({ ...common, app: localApp(options), path: socket }))
    if (port === undefined) return { port, close: () => scope.close() }
    const app = remoteApp(options)
    const listening = scope.own(await listenOnPort({ ...common, app, host, port, pair: files.pair }))
    if (config.tls && files.pair) {
      const { server } = listening
      const { seen } = files.pair
      const renew = ({ cert, key }: KeyPair): void => {
        if ('setSecureContext' in server) server.setSecureContext({ cert, key, minVersion: 'TLSv1.2' })
      }
      scope.own(startRenewing({ files: config.tls, seen, renew, clock, log }))
    }
    return { port: listening.port, close: () => scope.close() }
  } catch (error) {
    await scope.close()
    throw error
  }
}

function commonOf({
  config,
  files,
  parts,
  observer,
  clock,
  log,
}: ApiOptions): Omit<AppOptions, 'authenticate' | 'originOf'> {
  const { tokens: settings, requestsPerSecond } = config
  const { key } = files
  const minting: Parts['mint'] =
    settings && key
      ? (wish, tokens) => mint(wish, { ...settings, key, tokens, nowMs: clock.now() })
      : undefined
  return {
    routes: allRoutes,
    parts: { ...parts, mint: minting, clock },
    requestsPerSecond,
    observer,
    clock,
    log,
  }
}

/** For who owns the machine: whoever can open the socket is admin. */
function localApp(options: ApiOptions): ReturnType<typeof createApp> {
  return createApp({
    ...commonOf(options),
    authenticate: localCaller,
    originOf: () => ({ address: '', isCalledSo: () => true }),
  })
}

/** Who it is the system does not tell; the socket's owner says so, for the record. */
function localCaller(headers: Headers): Caller {
  const said = headers.get('tidegate-user') ?? ''
  const user = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$/.test(said) ? said : userName()
  return { actor: `local:${user}`, roles: ['admin'], local: true }
}

const refusalsEveryMs = 60_000

function remoteApp(options: ApiOptions): ReturnType<typeof createApp> {
  const { config, files, parts, observer, clock, log } = options
  const { tokens, provider, host, hosts } = config
  const warn = createThrottledWarn(log, clock, refusalsEveryMs)
  const read = (): Promise<string> => fetchKeySet(provider?.jwks ?? '')
  const verify = createVerifier({
    issuers: [
      ...(tokens && files.key ? [ourselves(tokens, files.key)] : []),
      ...(provider ? [identityProvider(provider, { read, clock, log })] : []),
    ],
    tokens: parts.tokens,
    clock,
    onRefused(fault) {
      observer.refused(fault)
      warn(fault, 'the API has let somebody not in', { fault })
    },
  })
  return createApp({
    ...commonOf(options),
    authenticate: (headers) => verify(headers.get('authorization') ?? undefined),
    originOf: (bindings) => ({
      address: addressOf(bindings),
      isCalledSo: (name) => isCalledSo(name, { host, hosts }),
    }),
  })
}
