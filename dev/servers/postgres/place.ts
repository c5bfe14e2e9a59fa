import type { Command } from '../command.ts'
import type { LeashPlan } from '../leash.ts'

export interface PostgresRequest {
  dir: string
  port: number
  user: string
  password: string
}

/** How to run a server and its psql, as installed binaries or in a container. */
export interface PostgresPlace {
  plan: LeashPlan
  psql(args: readonly string[]): Command
}
