import { readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf } from '../../src/errors.ts'
import { type Books, faultOf, flipped, type Place, type State } from './flips.ts'

/** What flip-runs.ts gives a process of its own, as its argument. */
export interface FlipTask {
  /** Holds the states' folders, `books.json` and `places.json`. */
  root: string
  state: State
  /** Where the copies are made, each with the index of its place behind it. */
  copies: string
  /** Of the places every so manieth, from this one on. */
  from: number
  every: number
  /** The last process was ended by the first place: its copy is opened again. */
  again: boolean
}

/** Of a place that is begun, and then of what is wrong with it. */
export interface FlipLine {
  index: number
  fault?: string
}

const { root, state, copies, from, every, again } = JSON.parse(process.argv[2] as string) as FlipTask
const read = (name: string): unknown => JSON.parse(readFileSync(join(root, name), 'utf8'))
const books = (read('books.json') as Record<State, Books>)[state]
const places = (read('places.json') as Record<State, Place[]>)[state]
const print = (line: FlipLine): void => void process.stdout.write(`${JSON.stringify(line)}\n`)

for (let index = from; index < places.length; index += every) {
  print({ index })
  // What it leaves open when it throws is in nobody's way: each folder has a name of its own.
  const copy = `${copies}-${index}`
  if (!again || index > from) await flipped(join(root, state), copy, places[index] as Place)
  const fault = await faultOf(copy, books).catch((error: unknown) => `it throws: ${messageOf(error)}`)
  if (fault !== undefined) print({ index, fault })
  await rm(copy, { recursive: true, force: true })
}
