import { spawnSync } from 'node:child_process'
import { pathToFileURL } from 'node:url'
import { messageOf, TidegateError } from '../src/errors.ts'

/** What is said of a module that is not what it is to be. */
export interface ModuleKind {
  code: string
  /** `consumer` */
  what: string
  /** What its path is, if it cannot be loaded. */
  pathHint: string
  /** What it is to export, if it does not. */
  exportHint: string
}

/** The default export of a user's module, an object. @throws TidegateError with the code of its kind */
export async function importDefault(file: string, kind: ModuleKind): Promise<object> {
  let loaded: { default?: unknown }
  try {
    loaded = (await import(pathToFileURL(file).href)) as { default?: unknown }
  } catch (cause) {
    const message = `cannot load the ${kind.what} ${file}: ${placeIn(file, cause)}${messageOf(cause)}`
    throw new TidegateError(kind.code, { message, retryable: false, hint: kind.pathHint, cause })
  }
  const found = loaded.default
  if (typeof found === 'object' && found !== null) return found
  const names = Object.keys(loaded)
  const instead = names.length === 0 ? '' : `; it exports ${names.join(', ')}`
  throw new TidegateError(kind.code, {
    message: `${file} default-exports no ${kind.what}${instead}`,
    retryable: false,
    hint: kind.exportHint,
  })
}

/** What is made of options says in which file they are. */
export function inFile<T>(file: string, make: () => T): T {
  try {
    return make()
  } catch (error) {
    if (!(error instanceof TidegateError)) throw error
    const { code, message, retryable, hint } = error
    throw new TidegateError(code, { message: `${file}: ${message}`, retryable, hint })
  }
}

/** Where in it something is wrong, as far as that can be known: the line of what it throws, or of what Node cannot read. */
function placeIn(file: string, error: unknown): string {
  const said = error instanceof SyntaxError ? checkedByNode(file) : stackOf(error)
  const places = [file, pathToFileURL(file).href]
  const line = said
    .split('\n')
    .map((text) => /^(?:.*[( ])?(\S+?):(\d+)(?::\d+)?\)?$/.exec(text.trim()))
    .find((match) => match !== null && places.includes(match[1] as string))?.[2]
  return line === undefined ? '' : `line ${line}: `
}

function stackOf(error: unknown): string {
  return error instanceof Error ? String(error.stack) : ''
}

/** Of a module that it cannot read Node tells the line only to whoever runs it. */
function checkedByNode(file: string): string {
  return spawnSync(process.execPath, ['--check', file], { encoding: 'utf8', timeout: 5_000 }).stderr ?? ''
}
