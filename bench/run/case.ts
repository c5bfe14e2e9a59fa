import type { Scope } from '../../src/lifecycle.ts'
import type { Sample } from './figures.ts'

/** A checkout of Tidegate, compiled. */
export interface Product {
  /** Undefined for the one that this bench belongs to; else the revision. */
  revision: string | undefined
  /** Its folder. */
  root: string
}

/** What a case is given. */
export interface Bench {
  /** Of each of them there is a subject; two of them only where a case compares checkouts. */
  products: readonly Product[]
  /** Go to the sizes that take their time. */
  full: boolean
  /** A folder of the case's own, gone afterwards. */
  dir: string
  /** Closes what the case opened. */
  scope: Scope
  say: (line: string) => void
}

/** What takes its turn in every round. */
export interface Subject {
  /** As in the catalogue. */
  name: string
  /** Whose it is; undefined for a reference. */
  product?: Product
  /** Measured in the first round alone. */
  once?: true
  measure(): Promise<Sample>
}

/** Opens what a case needs, and says who takes turns. */
export type Prepare = (bench: Bench) => Promise<Subject[]>
