import { expect, test } from 'vitest'
import { schemaRoutes } from '../../../cloud/api/routes/schemas.ts'
import type { Asked, Parts } from '../../../cloud/api/routes/route.ts'
import type { Caller } from '../../../cloud/api/rules/roles.ts'
import { emptyState } from '../../../cloud/registry/registry.ts'
import type { SchemaDesk } from '../../../cloud/schemas/apply/desk.ts'

const desk = {
  state: async () => emptyState,
  revisions: async () => [
    { revision: 1, digest: 'd', appliedAt: 't', actor: 'token:ada', reason: 'energy', isSigned: false },
  ],
  inUse: () => ({
    origin: 'registry',
    digest: 'd',
    revision: 1,
    types: 2,
    absent: ['com.acme.climate/1-2', 'com.acme.energy/1-2'],
    fault: { code: 'SCHEMA_FOLDER', message: 'com.acme.energy/2.json: no JSON' },
  }),
} as unknown as SchemaDesk

async function listedFor(caller: Partial<Caller>): Promise<unknown> {
  const list = schemaRoutes.find(({ path }) => path === '/v1/schemas')
  const asked = { caller: { actor: 'token:ann', local: false, roles: [], ...caller } }
  const answer = await list?.handle(
    asked as unknown as Asked<never, never, never>,
    { schemas: desk } as Parts,
  )
  return answer?.body
}

test('who is for some types is told of no file of others, neither of code that is absent nor of a fault', async () => {
  expect(await listedFor({ roles: ['admin'] })).toMatchObject({
    revisions: [{ actor: 'token:ada', reason: 'energy' }],
    inUse: {
      absent: ['com.acme.climate/1-2', 'com.acme.energy/1-2'],
      fault: { message: 'com.acme.energy/2.json: no JSON' },
    },
  })
  const narrow = await listedFor({ roles: ['admin'], types: ['com.acme.climate'] })
  expect(narrow).toMatchObject({
    inUse: { absent: ['com.acme.climate/1-2'], fault: { code: 'SCHEMA_FOLDER' } },
  })
  expect(JSON.stringify(narrow)).not.toContain('energy')
})
