import type { Command } from '../command.ts'
import type { LeashPlan } from '../leash.ts'
import type { RabbitSpec } from './files.ts'

export interface RabbitRequest {
  dir: string
  port: number
  tlsPort: number | undefined
  spec: RabbitSpec
}

/** How to run a node and its rabbitmqctl, as installed binaries or in a container. */
export interface RabbitPlace {
  plan: LeashPlan
  pidFile?: string
  ctl(args: readonly string[]): Command
}
