import { lstatSync, unlinkSync } from 'node:fs'
import { connect, type Server } from 'node:net'
import { dirname, resolve } from 'node:path'
import { codeOf, messageOf, TidegateError } from '../../src/errors.ts'
import { userId } from '../os-user.ts'

/** As much as the kernel takes (sun_path, with its end). */
const pathBytesMax = 107
const writableByOthers = 0o022
const sticky = 0o1000

/**
 * Listens on a socket that its owner alone can open: mode 0600 from its first moment, in a folder in which nobody else could put another
 * in its place. A file that a cloud has left behind which is no more is taken away.
 * @throws TidegateError `API_SOCKET_REFUSED`, `API_SOCKET_TAKEN`
 */
export async function listenOnSocket(server: Server, path: string): Promise<void> {
  refuseUnsafe(path)
  try {
    await listenPrivately(server, path)
  } catch (error) {
    if (codeOf(error) !== 'EADDRINUSE')
      throw refused(`${path} cannot be listened on: ${messageOf(error)}`, error)
    await removeStale(path)
    await listenPrivately(server, path)
  }
}

/** @throws TidegateError `API_SOCKET_REFUSED` */
export function refuseUnsafe(path: string): void {
  if (Buffer.byteLength(path) > pathBytesMax)
    throw refused(`${path} is longer than the ${pathBytesMax} bytes that a socket's path may have`)
  const uid = userId()
  for (let folder = dirname(resolve(path)), inner = true; ; folder = dirname(folder), inner = false) {
    const { mode, uid: owner, isLink } = statOf(folder)
    if (isLink) throw refused(`${folder}, on the way to ${path}, is a link: name where it leads`)
    if (inner && owner !== uid && owner !== 0) throw refused(`${folder} belongs to another user (${owner})`)
    const isShared = (mode & writableByOthers) !== 0
    if (isShared && (inner || (mode & sticky) === 0))
      throw refused(`others may write in ${folder} (mode 0${(mode & 0o7777).toString(8)})`)
    if (folder === dirname(folder)) return
  }
}

function statOf(folder: string): { mode: number; uid: number; isLink: boolean } {
  try {
    const about = lstatSync(folder)
    return { mode: about.mode, uid: about.uid, isLink: about.isSymbolicLink() }
  } catch (cause) {
    throw refused(`${folder} cannot be looked at: ${messageOf(cause)}`, cause)
  }
}

/** The file is made while `listen` is called, and nothing else runs meanwhile. */
async function listenPrivately(server: Server, path: string): Promise<void> {
  await new Promise<void>((done, fail) => {
    server.once('error', fail)
    const before = process.umask(0o177)
    try {
      server.listen(path, () => {
        server.removeListener('error', fail)
        done()
      })
    } finally {
      process.umask(before)
    }
  })
}

/** @throws TidegateError `API_SOCKET_TAKEN` when somebody answers, `API_SOCKET_REFUSED` when it is no socket */
async function removeStale(path: string): Promise<void> {
  if (!lstatSync(path).isSocket()) throw refused(`${path} is there, and is no socket`)
  const answers = await new Promise<boolean>((done) => {
    const socket = connect(path, () => {
      socket.destroy()
      done(true)
    })
    socket.once('error', () => done(false))
  })
  if (answers) {
    throw new TidegateError('API_SOCKET_TAKEN', {
      message: `another program answers on ${path}`,
      retryable: false,
      hint: 'a cloud of this machine has it already: give each its own api.socket',
    })
  }
  unlinkSync(path)
}

function refused(message: string, cause?: unknown): TidegateError {
  return new TidegateError('API_SOCKET_REFUSED', {
    message: `the socket of the API (api.socket): ${message}`,
    retryable: false,
    hint: 'whoever opens it is admin: name a folder of the cloud’s user alone, such as RuntimeDirectory=tidegate makes (/run/tidegate/api.sock)',
    cause,
  })
}
