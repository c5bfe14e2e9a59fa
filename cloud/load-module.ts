import { spawnSync } from 'node:child_process'
import nodeModule from 'node:module'
import { pathToFileURL } from 'node:url'
import { codeOf, messageOf, TidegateError } from '../src/errors.ts'

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
    resolveOwnPackage()
    loaded = (await import(pathToFileURL(file).href)) as { default?: unknown }
  } catch (cause) {
    const { why = messageOf(cause), hint = kind.pathHint } = explained(cause)
    const message = `cannot load the ${kind.what} ${file}: ${placeIn(file, cause)}${why}`
    throw new TidegateError(kind.code, { message, retryable: false, hint, cause })
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

/** What modules import of ours, and where it is. */
const ownPackage: Readonly<Record<string, URL>> = {
  'tidegate/consumer': new URL('./consumer.js', import.meta.url),
  '@tidegate/consumer': new URL('./consumer.js', import.meta.url),
}

type Resolve = (specifier: string, context: unknown, next: Resolve) => object
let resolvesOwn = false

/**
 * A module finds what it imports of ours in whoever runs it, so that it needs no node_modules beside it, and is never of another version.
 * Where Node cannot (before 22.15), it is found as other packages are.
 */
function resolveOwnPackage(): void {
  if (resolvesOwn) return
  resolvesOwn = true
  const { registerHooks } = nodeModule as { registerHooks?: (hooks: { resolve: Resolve }) => unknown }
  registerHooks?.({
    resolve(specifier, context, next) {
      const own = Object.hasOwn(ownPackage, specifier) ? ownPackage[specifier] : undefined
      return own ? { url: own.href, shortCircuit: true } : next(specifier, context, next)
    },
  })
}

const compileHint = 'compile it, as with `npx tsc`, and name the .js file'

/** What Node says of TypeScript, and of packages that are not there, in words that say what to do. */
function explained(cause: unknown): { why?: string; hint?: string } {
  switch (codeOf(cause)) {
    case 'ERR_UNKNOWN_FILE_EXTENSION':
      if (!/\.[mc]?ts\b/.test(messageOf(cause))) return {}
      return {
        why: `Node ${process.version} does not read TypeScript`,
        hint: `run Node 22.18 or later, which does, or ${compileHint}`,
      }
    case 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX':
      return {
        hint: `Node takes types away and makes no code of them: leave out enum, namespace and parameter properties (erasableSyntaxOnly finds them), or ${compileHint}`,
      }
    case 'ERR_UNSUPPORTED_NODE_MODULES_TYPE_STRIPPING':
      return { hint: `in node_modules Node reads no TypeScript: ${compileHint}` }
    case 'ERR_MODULE_NOT_FOUND':
      return /'@?tidegate(?:\/consumer)?'/.test(messageOf(cause))
        ? {
            hint: 'run Node 22.15 or later, or install @tidegate/consumer beside the module (docs/CONSUMERS.md)',
          }
        : {}
    default:
      return {}
  }
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
  // Of TypeScript it says it at once, and --check would read it as JavaScript.
  const isChecked = error instanceof SyntaxError && !isTypeScript(file)
  const said = isChecked ? checkedByNode(file) : stackOf(error)
  const places = [file, pathToFileURL(file).href]
  const line = said
    .split('\n')
    .map((text) => /^(?:.*[( ])?(\S+?):(\d+)(?::\d+)?\)?$/.exec(text.trim()))
    .find((match) => match !== null && places.includes(match[1] as string))?.[2]
  return line === undefined ? '' : `line ${line}: `
}

function isTypeScript(file: string): boolean {
  return /\.[mc]?ts$/.test(file)
}

function stackOf(error: unknown): string {
  return error instanceof Error ? String(error.stack) : ''
}

/** Of a module that it cannot read Node tells the line only to whoever runs it. */
function checkedByNode(file: string): string {
  return spawnSync(process.execPath, ['--check', file], { encoding: 'utf8', timeout: 5_000 }).stderr ?? ''
}
