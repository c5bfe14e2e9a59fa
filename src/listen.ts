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

/**
 * The one spelling of an address that has many, such as `0::0` and `::`, or `::ffff:192.0.2.1` and 192.0.2.1 (RFC 5952, RFC 4291 2.5.5.2). The zone
 * of an address of all interfaces means nothing, and goes. Anything else stays as it is.
 */
export function oneSpelling(host: string): string {
  const [address = '', zone] = host.split('%')
  const url = `http://[${address}]`
  if (!address.includes(':') || !URL.canParse(url)) return host
  const short = new URL(url).hostname.slice(1, -1)
  const mapped = /^::ffff:([\da-f]{1,4}):([\da-f]{1,4})$/.exec(short)
  if (mapped)
    return mapped
      .slice(1)
      .map((group) => Number.parseInt(group, 16))
      .flatMap((group) => [group >> 8, group & 255])
      .join('.')
  return zone === undefined || short === '::' ? short : `${short}%${zone}`
}

/** Whether it stands for every interface of the machine, however it is spelt. */
export function isEveryInterface(host: string): boolean {
  return ['0.0.0.0', '::'].includes(oneSpelling(host))
}
