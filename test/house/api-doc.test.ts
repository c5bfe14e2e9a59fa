import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Validator } from '@seriousme/openapi-schema-validator'
import { expect, test } from 'vitest'
import { allRoutes } from '../../cloud/api/routes/all.ts'
import { openapiOf } from '../../cloud/api/routes/openapi.ts'
import { type Right, rightsByRole, rightTexts } from '../../cloud/api/rules/roles.ts'
import { root } from './sources.ts'

test('docs/openapi.json is what the routes say: tidegate api spec > docs/openapi.json', () => {
  const committed: unknown = JSON.parse(readFileSync(join(root, 'docs/openapi.json'), 'utf8'))
  expect(committed).toEqual(JSON.parse(JSON.stringify(openapiOf(allRoutes))))
})

test('docs/openapi.json is an OpenAPI 3.1 document, by the meta schema of the specification', async () => {
  const document = JSON.parse(readFileSync(join(root, 'docs/openapi.json'), 'utf8')) as {
    openapi: string
    paths: Record<string, Record<string, object>>
  }
  expect(document.openapi).toMatch(/^3\.1\./)
  const validator = new Validator()
  expect(await validator.validate(document)).toMatchObject({ valid: true })
  expect(validator.version).toBe('3.1')
  // It would notice: a parameter has a place.
  const [path = '', methods = {}] = Object.entries(document.paths)[0] ?? []
  const faulty = { ...document, paths: { [path]: { ...methods, parameters: [{ name: 'limit' }] } } }
  expect(await validator.validate(faulty)).toMatchObject({ valid: false })
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
