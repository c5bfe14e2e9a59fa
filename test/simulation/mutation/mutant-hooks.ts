import { readFile } from 'node:fs/promises'
import type { LoadHook, ResolveHook } from 'node:module'
import { mutantOf, mutated, urlOfMutant } from './mutant.ts'
import { mutations } from './mutations.ts'

/** What is compiled; packages are the same for all. */
const dist = new URL('../../../', import.meta.url).href

/** What a module of a mutant imports is of that mutant too. */
export const resolve: ResolveHook = async (specifier, context, next) => {
  const resolved = await next(specifier, context)
  const name = context.parentURL?.startsWith(dist) ? mutantOf(context.parentURL) : null
  if (name === null || !resolved.url.startsWith(dist)) return resolved
  return { ...resolved, url: urlOfMutant(resolved.url, name) }
}

export const load: LoadHook = async (url, context, next) => {
  const name = url.startsWith(dist) ? mutantOf(url) : null
  const mutation = mutations.find((one) => one.name === name)
  if (!mutation || new URL(url).pathname !== new URL(mutation.file, dist).pathname) return next(url, context)
  const text = await readFile(new URL(mutation.file, dist), 'utf8')
  return { format: 'module', source: mutated(mutation, text), shortCircuit: true }
}
