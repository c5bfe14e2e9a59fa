import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { allRoutes } from '../../cloud/api/routes/all.ts'
import { openapiOf } from '../../cloud/api/routes/openapi.ts'
import { type Right, rightsByRole, rightTexts } from '../../cloud/api/rules/roles.ts'
import { root } from './sources.ts'

test('docs/openapi.json is what the routes say: tidegate api spec > docs/openapi.json', () => {
  const committed: unknown = JSON.parse(readFileSync(join(root, 'docs/openapi.json'), 'utf8'))
  expect(committed).toEqual(JSON.parse(JSON.stringify(openapiOf(allRoutes))))
})

test('docs/API.md shows the roles as they are', () => {
  const page = readFileSync(join(root, 'docs/API.md'), 'utf8')
  for (const [role, rights] of Object.entries(rightsByRole)) {
    const [, ...cells] =
      page
        .split('\n')
        .find((line) => line.startsWith(`| \`${role}\``))
        ?.split('|')
        .slice(1, -1) ?? []
    const may = (Object.keys(rightTexts) as Right[]).map((right) =>
      (rights as readonly Right[]).includes(right) ? 'yes' : '–',
    )
    expect([role, cells.map((cell) => cell.trim())]).toEqual([role, may])
  }
})
