import { TidegateError } from './errors.ts'

/** Listens, or says plainly why not. @throws TidegateError `PORT_TAKEN` | `LISTEN_FAILED` */
export async function listen(
  server: { listen(port: number, host: string, done: () => void): unknown } & NodeJS.EventEmitter,
  port: number,
  host: string,
  what: string,
): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, host, () => {
        server.removeListener('error', reject)
        resolve()
      })
    })
  } catch (cause) {
    const taken = cause instanceof Error && 'code' in cause && cause.code === 'EADDRINUSE'
    throw new TidegateError(taken ? 'PORT_TAKEN' : 'LISTEN_FAILED', {
      message: taken
        ? `${what} cannot listen on ${host}:${port}: the port is taken`
        : `${what} cannot listen on ${host}:${port}`,
      retryable: false,
      hint: taken
        ? `stop the other program (ss -ltnp | grep :${port}) or choose another port`
        : 'check the host and the port in the configuration',
      cause,
    })
  }
}

/** `localhost`, 127.0.0.0/8 and ::1, with or without the brackets of a URL. */
export function isLoopback(host: string): boolean {
  return /^(localhost\.?|\[?::1\]?|127(\.\d+){3})$/i.test(host)
}
