import { readFileSync } from 'node:fs'
import { type IncomingMessage, request as httpRequest } from 'node:http'
import { request as httpsRequest, type RequestOptions } from 'node:https'
import type { Clock } from '../../src/clock.ts'
import { codeOf, messageOf, TidegateError } from '../../src/errors.ts'
import { snapshotBytesMax } from '../../src/schemas/snapshot.ts'
import { type ClientTlsPaths, loadClientTls } from '../../src/settings/client-tls.ts'

/** Who is asked for a snapshot, and how. */
export interface SnapshotServer {
  /** `https:`; `http:` leads to this machine alone. */
  url: string
  /** Of a token that is shown as `Authorization: Bearer`. Read for each question, as is `tls`: both are replaced while it runs. */
  tokenFile?: string | undefined
  /** Absent: the CAs that Node trusts. */
  tls?: ClientTlsPaths | undefined
  /** Until the whole of the answer is there, ms. */
  timeoutMs: number
}

/** `same`: what was answered last under this ETag is still what there is. */
export type SnapshotAnswer = 'same' | { bytes: Uint8Array; etag: string | undefined }

/**
 * Asks once. No redirect is followed, and no more is read than a snapshot may have (G7).
 * @throws TidegateError `SCHEMA_SNAPSHOT_UNREACHABLE`; AbortError of `signal`
 */
export async function askForSnapshot(
  server: SnapshotServer,
  etag: string | undefined,
  { clock, signal }: { clock: Pick<Clock, 'after'>; signal: AbortSignal },
): Promise<SnapshotAnswer> {
  signal.throwIfAborted()
  const timeout = new AbortController()
  const timer = clock.after(server.timeoutMs, () =>
    timeout.abort(new Error(`no whole answer within ${server.timeoutMs} ms`)),
  )
  const until = AbortSignal.any([signal, timeout.signal])
  try {
    return await answerOf(await responseOf(server, etag, until), until)
  } catch (error) {
    signal.throwIfAborted()
    const cause = timeout.signal.aborted ? (timeout.signal.reason as Error) : error
    throw cause instanceof TidegateError ? cause : unreachable(server.url, messageOf(cause), cause)
  } finally {
    timer.cancel()
  }
}

function responseOf(server: SnapshotServer, etag: string | undefined, signal: AbortSignal) {
  const { url, tokenFile, tls } = server
  const headers = {
    accept: 'application/json',
    'accept-encoding': 'identity',
    ...(etag !== undefined && { 'if-none-match': etag }),
    ...(tokenFile !== undefined && { authorization: `Bearer ${readFileSync(tokenFile, 'utf8').trim()}` }),
  }
  const loaded = tls && loadClientTls(tls, { where: 'the snapshot of schemas (schemas.snapshot.tls)' })
  const shown = loaded && { ca: loaded.ca, cert: loaded.pair?.cert, key: loaded.pair?.key }
  // A connection of its own: the next question is minutes away.
  const options: RequestOptions = { ...shown, headers, signal, agent: false }
  return new Promise<IncomingMessage>((resolve, reject) => {
    const request = url.startsWith('https:') ? httpsRequest : httpRequest
    request(url, options, resolve).on('error', reject).end()
  })
}

async function answerOf(response: IncomingMessage, signal: AbortSignal): Promise<SnapshotAnswer> {
  try {
    const { statusCode: status = 0, headers } = response
    if (status === 304) return 'same'
    if (status !== 200) throw new Error(saidBy(status))
    const parts: Uint8Array[] = []
    let bytes = 0
    for await (const part of response as AsyncIterable<Uint8Array>) {
      signal.throwIfAborted()
      bytes += part.byteLength
      if (bytes > snapshotBytesMax) throw new Error(`it answered with more than ${snapshotBytesMax} bytes`)
      parts.push(part)
    }
    if (!response.complete) throw new Error('its answer is cut')
    return { bytes: Buffer.concat(parts), etag: headers.etag }
  } finally {
    response.destroy()
  }
}

function saidBy(status: number): string {
  if (status === 401 || status === 403)
    return `it answered ${status}: the token is missing, over, or not one for this`
  if (status === 404) return `it answered ${status}: no schemas were signed there yet, or the path is another`
  if (status >= 300 && status < 400) return `it answered ${status}: redirects are not followed`
  return `it answered ${status}`
}

function unreachable(url: string, why: string, cause: unknown): TidegateError {
  const { origin, pathname } = new URL(url)
  return new TidegateError('SCHEMA_SNAPSHOT_UNREACHABLE', {
    message: `no schema snapshot came from ${origin}${pathname}: ${why} (${codeOf(cause)})`,
    retryable: true,
    hint: 'check schemas.snapshot.url, tokenFile and tls, and the clock of this machine; what is in use stays',
    cause,
  })
}
