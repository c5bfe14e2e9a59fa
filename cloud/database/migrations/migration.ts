/** A step of the database schema. Once applied anywhere it is never edited: a change is a new step. */
export interface Migration {
  /** 1, 2, 3, … without a gap. */
  version: number
  name: string
  /** May raise `TG001` with a hint, for what a person must do first. */
  sql: string
}
