import { type Command, Option } from 'commander'
import { systemClock } from '../../../src/clock.ts'
import { wholeNumber } from '../../../src/settings/command-line.ts'
import type { ProjectionItem, ProjectionJob } from '../../api/rules/shapes.ts'
import type { Client } from '../client.ts'
import { jobText, projectionsText, projectionText } from './text.ts'
import { deviceOf, projectionOf, versionOf } from '../readers.ts'
import {
  type Asking,
  asking,
  type Changing,
  changing,
  exitCodes,
  keyFor,
  reasonOrNone,
  say,
  sayJson,
  withApi,
} from '../session.ts'

/** `tidegate projections` */
export function registerProjectionsCommand(program: Command): void {
  const projections = program
    .command('projections')
    .description('what is derived from history, version beside version')
  asking(projections.command('list'))
    .description('show all of them')
    .action(async (options: Asking) =>
      withApi(options, async (client) => {
        const { body } = await client.get<{ items: ProjectionItem[] }>('/v1/projections')
        if (options.json) sayJson(body)
        else say(projectionsText(body.items))
      }),
    )
  addStatus(projections)
  addSwitch(projections)
  addRebuild(projections)
  addCompare(projections)
  addResume(projections)
  addDrop(projections)
}

function addStatus(projections: Command): void {
  asking(projections.command('status'))
    .description(
      'how far its versions are, who works at them, when building ends; ends with 1 if one has stopped',
    )
    .argument('<name>', 'of the projection', projectionOf)
    .action(async (name: string, options: Asking) =>
      withApi(options, async (client) => {
        const { body } = await client.get<ProjectionItem>(`/v1/projections/${name}`)
        if (options.json) sayJson(body)
        else say(projectionText(body, systemClock.now()))
        if (body.versions.some(({ state }) => state === 'halted')) process.exitCode = exitCodes.notWell
      }),
    )
}

type Switching = Changing & { back?: boolean; force?: boolean }

function addSwitch(projections: Command): void {
  changing(projections.command('switch'))
    .description('have readers see another version, which must be live')
    .argument('<name>', 'of the projection', projectionOf)
    .argument('[version]', 'the version', versionOf)
    .option('--back', 'the former one again')
    .option(
      '--force',
      'however far behind it is, if no instance works at it, and if it counted less of history',
    )
    .action(async (name: string, version: number | undefined, options: Switching) =>
      change<{ version: number; former: number }>(options, {
        path: `/v1/projections/${name}/switch`,
        request: {
          ...(version !== undefined && { version }),
          ...(options.back && { back: true }),
          ...(options.force && { force: true }),
        },
        said: ({ version, former }, would) =>
          `readers of projection.${name} ${would ? 'would see' : 'see'} version ${version}, and no longer ${former}`,
      }),
    )
}

type Rebuilding = Changing & { device?: string; force?: boolean }

function addRebuild(projections: Command): void {
  changing(projections.command('rebuild'))
    .description(
      'have a version that is not active begin again, or make the rows of one device anew in place',
    )
    .argument('<name>', 'of the projection', projectionOf)
    .argument('[version]', 'the version', versionOf)
    .addOption(new Option('--device <id>', 'in the active version').argParser(deviceOf))
    .option('--force', 'though it has counted what history has no more: that is gone then')
    .action(async (name: string, version: number | undefined, options: Rebuilding) => {
      const { device } = options
      const forced = options.force && { force: true }
      const path = `/v1/projections/${name}/rebuild`
      if (device !== undefined && version === undefined)
        return job(options, { path, request: { device, ...forced } })
      return change(options, {
        path,
        request: {
          ...(version !== undefined && { version }),
          ...(device !== undefined && { device }),
          ...forced,
        },
        said: (_, would) =>
          `${name} ${version} ${would ? 'would begin' : 'begins'} again: tidegate projections status ${name}`,
      })
    })
}

function addCompare(projections: Command): void {
  changing(projections.command('compare'))
    .description(
      'count its rows, and compute some of its keys again from history; ends with 1 if they differ',
    )
    .argument('<name>', 'of the projection', projectionOf)
    .argument('<version>', 'the version', versionOf)
    .addOption(
      new Option('--sample <keys>', 'how many').argParser(wholeNumber({ min: 1, max: 1000 })).default(20),
    )
    .action(async (name: string, version: number, options: Changing & { sample: number }) =>
      job(
        // It changes nothing that needs to be explained.
        { reason: 'compare', ...options },
        { path: `/v1/projections/${name}/compare`, request: { version, sample: options.sample } },
      ),
    )
}

function addResume(projections: Command): void {
  changing(projections.command('resume'))
    .description('have a version go on that has stopped at an event')
    .argument('<name>', 'of the projection', projectionOf)
    .argument('<version>', 'the version', versionOf)
    .option('--skip <id>', 'without that event, at which it has stopped')
    .action(async (name: string, version: number, options: Changing & { skip?: string }) =>
      change<{ skipped: { source: string; id: string } | null }>(options, {
        path: `/v1/projections/${name}/resume`,
        request: { version, ...(options.skip !== undefined && { skip: options.skip }) },
        said: ({ skipped }, would) =>
          `${name} ${version} ${would ? 'would go' : 'goes'} on${skipped ? `, without ${skipped.id} of ${skipped.source}` : ''}`,
      }),
    )
}

function addDrop(projections: Command): void {
  changing(projections.command('drop'))
    .description('take a version that is not active away, with its tables')
    .argument('<name>', 'of the projection', projectionOf)
    .argument('<version>', 'the version', versionOf)
    .action(async (name: string, version: number, options: Changing) =>
      change(options, {
        path: `/v1/projections/${name}/drop`,
        request: { version },
        said: (_, would) => `${name} ${version} ${would ? 'would be' : 'is'} gone`,
      }),
    )
}

interface Wish<Body> {
  path: string
  request: object
  said: (body: Body, would: boolean) => string
}

function change<Body>(options: Changing, { path, request, said }: Wish<Body>): Promise<void> {
  return withApi(options, async (client) => {
    const { dryRun = false } = options
    const whole = { ...request, reason: reasonOrNone(options), dryRun }
    const { body } = await client.post<Body>(path, whole, keyFor(options))
    if (options.json) sayJson(body)
    else say(said(body, dryRun))
  })
}

const askEveryMs = 500

/** Asks for a job, and waits until it is done: by whoever works at the version. */
function job(options: Changing, { path, request }: Pick<Wish<never>, 'path' | 'request'>): Promise<void> {
  return withApi(options, async (client) => {
    const { dryRun = false } = options
    const whole = { ...request, reason: reasonOrNone(options), dryRun }
    const { body } = await client.post<{ job: string }>(path, whole, keyFor(options))
    if (dryRun) return options.json ? sayJson(body) : say('would be done by whoever works at the version')
    const done = await ended(client, body.job)
    if (options.json) sayJson(done)
    else say(jobText(done))
    if (done.failed !== null || done.outcome?.same === false) process.exitCode = exitCodes.notWell
  })
}

async function ended(client: Client, id: string): Promise<ProjectionJob> {
  for (;;) {
    const { body } = await client.get<ProjectionJob>(`/v1/projection-jobs/${id}`)
    if (body.endedAt !== null) return body
    await systemClock.sleep(askEveryMs)
  }
}
