import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { isIP } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { isLoopback, listen } from './listen.ts'

/** One named check of `/readyz`. */
export interface Check {
  ok: boolean
  /** One line for a person. */
  detail: string
}

export interface OpsServerOptions {
  host: string
  /** 0: any free port. */
  port: number
  /** Names by which others call this endpoint, beside `host`, loopback and every address. */
  hosts?: readonly string[] | undefined
  /** Prometheus text. */
  metrics(): Promise<string>
  ready(): Promise<Record<string, Check>> | Record<string, Check>
  routes?: Readonly<Record<string, OpsRoute>>
}

/** An answer of a route of its own, sent as it is made. */
export interface OpsAnswer {
  status: number
  type: string
  body: AsyncIterable<string> | Iterable<string>
}

/** Further paths, each with its query and the request's Authorization header. */
export type OpsRoute = (query: URLSearchParams, authorization: string | undefined) => Promise<OpsAnswer>

export interface OpsServer {
  readonly port: number
  close(): Promise<void>
}

/**
 * `/metrics` (Prometheus text), `/healthz` (200 while the process answers) and `/readyz` (200 when every check
 * holds, else 503; the body names each check).
 * @throws TidegateError `PORT_TAKEN`
 */
export async function startOpsServer(options: OpsServerOptions): Promise<OpsServer> {
  const server = createServer((request, response) => {
    const send = (status: number, type: string, body: string): void => {
      response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(body)
    }
    const url = request.url ?? '/'
    if (!isCalledSo(request.headers.host, options))
      return send(421, 'text/plain', 'not by this name: ops.hosts lists those that are taken\n')
    // Node's parser lets through what is no URL, such as `//`.
    if (!URL.canParse(url, 'http://ops')) return send(400, 'text/plain', 'no such address\n')
    const { pathname: path, searchParams } = new URL(url, 'http://ops')
    const route = options.routes?.[path]
    const fail = (error: unknown): void => send(500, 'text/plain', `${String(error)}\n`)
    if (request.method !== 'GET' && request.method !== 'HEAD') send(405, 'text/plain', 'only GET\n')
    else if (path === '/healthz') send(200, 'application/json', '{"ok":true}\n')
    else if (path === '/metrics') {
      options.metrics().then((text) => send(200, 'text/plain; version=0.0.4; charset=utf-8', text), fail)
    } else if (path === '/readyz') {
      readiness(options).then(({ ok, body }) => send(ok ? 200 : 503, 'application/json', body), fail)
    } else if (route) {
      answer(response, route(searchParams, request.headers.authorization)).catch((error: unknown) =>
        response.destroy(error as Error),
      )
    } else send(404, 'text/plain', 'try /metrics, /healthz or /readyz\n')
  })
  await listen(server, options.port, options.host, 'the ops endpoint')
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/**
 * A page in somebody's browser can have its own name lead to this address, and read what is answered; the browser then says that name
 * here (DNS rebinding). It cannot do so with an address, and who is no browser may leave it out.
 */
export function isCalledSo(
  header: string | undefined,
  { host, hosts = [] }: Pick<OpsServerOptions, 'host' | 'hosts'>,
): boolean {
  if (header === undefined) return true
  const name = header.replace(/:\d*$/, '').toLowerCase()
  if (isLoopback(name) || isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0) return true
  return [host, ...hosts].some((one) => one.toLowerCase() === name)
}

/** Streams at the reader's pace. */
async function answer(response: ServerResponse, answering: Promise<OpsAnswer>): Promise<void> {
  const { status, type, body } = await answering
  response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' })
  await pipeline(Readable.from(body, { objectMode: false }), response)
}

async function readiness(options: OpsServerOptions): Promise<{ ok: boolean; body: string }> {
  const checks = await options.ready()
  const ok = Object.values(checks).every((check) => check.ok)
  return { ok, body: `${JSON.stringify({ ok, checks })}\n` }
}
