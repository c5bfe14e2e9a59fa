import { constants, type X509Certificate } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import * as x509 from '@peculiar/x509'
import type { Clock } from '../src/clock.ts'
import { codeOf, messageOf, TidegateError } from '../src/errors.ts'
import { listen } from '../src/listen.ts'
import { createThrottle } from '../src/throttle.ts'
import { readCertificates } from '../src/pem-files.ts'
import { Enrolment, type EnrolmentOptions, Refusal } from './enrolment.ts'
import { parseSigningRequest, type SigningRequest } from './sign.ts'

/** Of a request; a signing request has one or two thousand. */
const bodyBytesMax = 16 * 1024
const connectionsMax = 200
const requestMsMax = 10_000
/** Of handshakes that fail for the same reason one is told of in so long. */
const handshakeIntervalMs = 10_000
const wellKnown = '/.well-known/est/'
const certificates = 'application/pkcs7-mime; smime-type=certs-only'

export interface EstOptions extends EnrolmentOptions {
  /** The server's own, PEM. */
  cert: Buffer
  key: Buffer
  host: string
  port: number
  clock: Clock
  /** Told of each request that asked for a certificate, and what came of it, and of handshakes that failed. */
  say: (line: string) => void
}

export interface EstServer {
  readonly port: number
  /** Answers what is under way, then ends. Idempotent. */
  close(): Promise<void>
}

/**
 * Enrolment over Secure Transport (RFC 7030) for devices of one CA: `cacerts`, `simpleenroll` with a bootstrap certificate and `simplereenroll`
 * with the one that is to be replaced, nothing else. Nobody gets as far as a request without a certificate of the CA that is valid now.
 * @throws TidegateError `PORT_TAKEN` | `LISTEN_FAILED`
 */
export async function startEst(options: EstOptions): Promise<EstServer> {
  const { authority, cert, key, host, port, clock, say } = options
  const enrolment = new Enrolment(options)
  // All of them, as everywhere: a CA that is an intermediate has its root beside it.
  const cas = readCertificates(authority.certFile, 'the certificate authority')
  const throttle = createThrottle(clock, handshakeIntervalMs)
  const server = createServer({
    cert,
    key,
    ca: cas.pem,
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: 'TLSv1.2',
    // With a ticket somebody would be let in whose certificate has ended since.
    secureOptions: constants.SSL_OP_NO_TICKET,
    handshakeTimeout: requestMsMax,
    requestTimeout: requestMsMax,
    headersTimeout: requestMsMax,
    connectionsCheckingInterval: requestMsMax / 2,
  })
  server.maxConnections = connectionsMax
  server.on('tlsClientError', (error, socket) => {
    const before = throttle(codeOf(error))
    if (before !== undefined)
      say(
        `a handshake from ${socket.remoteAddress} failed: ${messageOf(error)}${before > 0 ? `, ${before} more alike before` : ''}`,
      )
  })
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  server.on('request', (request, response) => {
    // Whoever is gone is told nothing.
    answer(request, response, enrolment, { cas: cas.certificates, say }).catch(() => response.destroy())
  })
  await listen(server, port, host, 'the enrolment server')
  let closing: Promise<void> | undefined
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      (closing ??= new Promise((resolve) => {
        // Also those that have not come as far as a request.
        const cut = clock.after(requestMsMax / 2, () => sockets.forEach((socket) => socket.destroy()))
        server.close(() => {
          cut.cancel()
          resolve()
        })
        server.closeIdleConnections()
      })),
  }
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  enrolment: Enrolment,
  { cas, say }: { cas: readonly X509Certificate[]; say: EstOptions['say'] },
): Promise<void> {
  const path = request.url ?? ''
  const asked = path.startsWith(wellKnown) ? path.slice(wellKnown.length) : undefined
  const shown = (request.socket as TLSSocket).getPeerX509Certificate()
  response.setHeader('Connection', 'close')
  if (asked === 'cacerts' && request.method === 'GET')
    return sendCertificates(
      response,
      cas.map(({ raw }) => new x509.X509Certificate(new Uint8Array(raw))),
    )
  if (shown === undefined || (asked !== 'simpleenroll' && asked !== 'simplereenroll'))
    return sendText(response, 404, 'there are cacerts, simpleenroll and simplereenroll\n')
  if (request.method !== 'POST') {
    response.setHeader('Allow', 'POST')
    return sendText(response, 405, 'POST a certificate signing request\n')
  }
  const from = request.socket.remoteAddress
  const who = `${asked} of ${/CN=([A-Za-z0-9._-]+)/.exec(shown.subject)?.[1] ?? 'nobody'}, certificate ${shown.serialNumber.toLowerCase()}`
  try {
    const signing = await readRequest(request)
    const issued = await (asked === 'simpleenroll'
      ? enrolment.enrol(shown, signing)
      : enrolment.renew(shown, signing))
    say(`${who}: issued ${issued.serialNumber}, valid until ${issued.notAfter.toISOString()}, from ${from}`)
    sendCertificates(response, [issued])
  } catch (error) {
    const { status, text } = refused(error, response)
    say(`${who}: refused, ${text}, from ${from}`)
    sendText(response, status, `${text}\n`)
  }
}

/** In base64, as RFC 7030 wants it, in PEM or in DER. @throws TidegateError CERTS_REQUEST */
async function readRequest(request: IncomingMessage): Promise<SigningRequest> {
  const chunks: Buffer[] = []
  let bytes = 0
  // Read to its end, and kept as far as it may go: who is cut off does not read the answer.
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes <= bodyBytesMax) chunks.push(chunk)
  }
  if (bytes > bodyBytesMax)
    throw new TidegateError('CERTS_REQUEST', {
      message: `the request has more than ${bodyBytesMax} bytes`,
      retryable: false,
      hint: 'send the certificate signing request alone',
    })
  const body = Buffer.concat(chunks)
  const isBase64 = /^[A-Za-z0-9+/=\s]*$/.test(body.toString('latin1'))
  return parseSigningRequest(isBase64 ? Buffer.from(body.toString('latin1'), 'base64') : body, 'the request')
}

function refused(error: unknown, response: ServerResponse): { status: number; text: string } {
  if (error instanceof Refusal) {
    if (error.retryAfterS !== undefined) response.setHeader('Retry-After', error.retryAfterS)
    return { status: error.status, text: error.message }
  }
  const status = error instanceof TidegateError && error.code === 'CERTS_REQUEST' ? 400 : 500
  return { status, text: messageOf(error) }
}

/** PKCS #7 without signatures (RFC 7030, 4.1.3 and 4.2.3). */
function sendCertificates(response: ServerResponse, chain: x509.X509Certificate[]): void {
  const der = Buffer.from(new x509.X509Certificates(chain).export('raw'))
  response.writeHead(200, { 'Content-Type': certificates, 'Content-Transfer-Encoding': 'base64' })
  response.end(`${der.toString('base64').replace(/.{64}/g, '$&\r\n')}\r\n`)
}

function sendText(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8' })
  response.end(text)
}
