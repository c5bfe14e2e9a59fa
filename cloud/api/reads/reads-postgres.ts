import type { Database } from '../../database/database-postgres.ts'
import { translatedTimeout } from '../rules/problem.ts'
import { readFailureGroup, readFailureGroups } from './failure-groups-postgres.ts'
import { readGroups, readParked } from './groups-postgres.ts'
import { readLetter, readLetters } from './letters-postgres.ts'
import { readProjectionJob, readProjections } from './projections-postgres.ts'
import { readQuarantine } from './quarantine-postgres.ts'
import type { Reads } from './reads.ts'
import { readWhere } from './where-is-postgres.ts'
import { readDeeds, readReplay, readReplays } from './replays-postgres.ts'

export function postgresReads(database: Pick<Database, 'query'>): Reads {
  const query: Database['query'] = async (text, values) => {
    try {
      return await database.query(text, values)
    } catch (error) {
      throw translatedTimeout(error)
    }
  }
  return {
    letters: (asked, scope) => readLetters(query, asked, scope),
    letter: (letter, scope) => readLetter(query, letter, scope),
    failureGroups: (asked, scope) => readFailureGroups(query, asked, scope),
    failureGroup: (fingerprint, scope) => readFailureGroup(query, fingerprint, scope),
    replays: (asked) => readReplays(query, asked),
    replay: (replay) => readReplay(query, replay),
    quarantine: (asked, scope) => readQuarantine(query, asked, scope),
    where: (asked, scope) => readWhere(query, asked, scope),
    groups: (scope) => readGroups(query, scope),
    parked: (group, asked) => readParked(query, group, asked),
    projections: () => readProjections(query),
    projectionJob: (job) => readProjectionJob(query, job),
    deeds: (asked) => readDeeds(query, asked),
  }
}
