import type { PacketLike } from 'aedes-persistence-level/asyncPersistence.js'
import { decode } from 'msgpack-lite'
import type { SessionDatabase } from './database-level.ts'
import { covers } from '../admission/topics.ts'

const prefix = 'retained:'
const all = { gte: prefix, lt: 'retained;' }

/** Every retained message, with its topic. */
export async function* allRetained(database: SessionDatabase): AsyncGenerator<[string, PacketLike]> {
  for await (const [key, value] of database.entries(all)) yield [topicOf(key), decode(value) as PacketLike]
}

/** What is retained on topics that a filter matches. Only the branch that the filter names is read. */
export async function* retainedFor(database: SessionDatabase, filter: string): AsyncGenerator<PacketLike> {
  const branch = branchOf(filter)
  const isTopic = branch === filter
  // `a/#` takes in `a` itself.
  const single = isTopic ? filter : filter === `${branch}#` ? branch.slice(0, -1) : ''
  const record = single === '' ? undefined : await database.get(prefix + single)
  if (record) yield decode(record) as PacketLike
  if (isTopic) return
  for await (const [key, value] of database.entries(rangeOf(branch)))
    if (covers(filter, topicOf(key))) yield decode(value) as PacketLike
}

/** The levels before the first wildcard, with the separator. */
function branchOf(filter: string): string {
  const wildcard = filter.search(/[+#]/)
  return wildcard < 0 ? filter : filter.slice(0, wildcard)
}

function rangeOf(branch: string): { gte: string; lt: string } {
  // The byte after the separator's is that of a zero.
  return branch === '' ? all : { gte: prefix + branch, lt: `${prefix}${branch.slice(0, -1)}0` }
}

function topicOf(key: string): string {
  return key.slice(prefix.length)
}
