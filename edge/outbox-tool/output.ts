import { open } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { messageOf, TidegateError } from '../../src/errors.ts'

/** Where an export goes. */
export type Output = (pieces: AsyncIterable<string>) => Promise<void>

export function outputTo(stream: NodeJS.WritableStream): Output {
  return (pieces) => pipeline(Readable.from(pieces), stream, { end: false })
}

/** A file for its owner only, begun anew. @throws TidegateError `EXPORT_UNWRITABLE`, now or when it is written to */
export async function outputToFile(path: string): Promise<Output> {
  const unwritable = (cause: unknown): never => {
    throw new TidegateError('EXPORT_UNWRITABLE', {
      message: `cannot write ${path}: ${messageOf(cause)}`,
      retryable: false,
      hint: 'name a file (--output) in a folder that is there, that this user may write to, on a disk with room',
      cause,
    })
  }
  const file = await open(path, 'w', 0o600).catch(unwritable)
  return async (pieces) => {
    try {
      for await (const piece of pieces) await file.appendFile(piece).catch(unwritable)
    } finally {
      await file.close()
    }
  }
}
