import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { createMetrics as createCloudMetrics } from '../../cloud/metrics.ts'
import { createMetrics as createEdgeMetrics } from '../../edge/metrics.ts'
import type { OutboxStats } from '../../edge/outbox.ts'
import { createUplink } from '../../edge/uplink.ts'
import { systemClock } from '../../src/clock.ts'

const root = join(import.meta.dirname, '../..')
const pages = ['README.md', ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`)]
  .filter((path) => path.endsWith('.md'))
  .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }))

const emptyOutbox: OutboxStats = {
  epoch: '',
  lastSequence: 0,
  depth: { high: 0, normal: 0 },
  bytes: { high: 0, normal: 0 },
  backlog: 0,
  inFlight: 0,
  oldestAgeMs: { high: 0, normal: 0 },
  waiting: 0,
  stuckMs: 0,
  refusing: undefined,
  devices: 0,
  rememberedIds: 0,
}

/** Every metric that either side has, by its name in the text that Prometheus reads. */
async function metricNames(): Promise<Set<string>> {
  const edge = createEdgeMetrics()
  edge.watch({
    stats: () => emptyOutbox,
    uplink: createUplink(systemClock),
    certificates: () => ({}),
    diskWriteBytes: () => 0,
  })
  const cloud = createCloudMetrics()
  cloud.watch({ groups: [], databaseUp: () => true, brokersUp: () => ({}) })
  const text = (await edge.text()) + (await cloud.text())
  return new Set([...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name as string))
}

describe('the documents', () => {
  test('name no metric that is not there', async () => {
    const names = await metricNames()
    const told = pages.flatMap(({ path, text }) =>
      [...text.matchAll(/\btidegate_(?:edge|cloud)_[a-z_]*[a-z]\b/g)].map(([name]) => ({ path, name })),
    )
    expect(told.length).toBeGreaterThan(25)
    const known = ({ name }: { name: string }): boolean =>
      names.has(name) || names.has(name.replace(/_(bucket|sum|count)$/, ''))
    expect(told.filter((one) => !known(one))).toEqual([])
  })

  test('link to nothing that is not there', () => {
    const dead = pages.flatMap(({ path, text }) =>
      [...text.matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)/g)].flatMap(([link, target = '', anchor]) => {
        const file = target === '' ? path : join(path, '..', target)
        if (!existsSync(join(root, file))) return [`${path}: ${link}`]
        const there =
          anchor === undefined || anchorsOf(readFileSync(join(root, file), 'utf8')).includes(anchor)
        return there ? [] : [`${path}: ${link}`]
      }),
    )
    expect(dead).toEqual([])
  })
})

/** As the usual renderers make them: lower case, words joined by dashes, nothing else. */
function anchorsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}
