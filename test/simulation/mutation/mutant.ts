import type { Mutation } from './mutations.ts'

const key = 'mutant'

/** A module of a mutant is known by its URL, so that it is another module than the one of its file. */
export function urlOfMutant(url: string, name: string): string {
  return `${url}?${key}=${name}`
}

/** Name of the mutation; null: the module is of no mutant. */
export function mutantOf(url: string): string | null {
  return new URL(url).searchParams.get(key)
}

/** Whether a mechanism is where its mutation looks for it. */
export function isStale({ find }: Mutation, text: string): boolean {
  return text.split(find).length !== 2
}

export function mutated({ find, replace }: Mutation, text: string): string {
  return text.replace(find, () => replace)
}
