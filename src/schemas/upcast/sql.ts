import type { MemberPath } from './pointer.ts'
import { magnitudeMax, magnitudeMin, type Step } from './steps.ts'

/**
 * The steps as an expression of PostgreSQL (15 and later) on an expression of type `jsonb`: what `applySteps` makes of the same data. Needs no
 * function of ours, so that it can stand in a view. It grows with the steps and not with their powers: each takes what the one before
 * gives by a name (`offset 0` keeps the planner from putting the expression in the place of the name).
 */
export function sqlOfSteps(jsonb: string, steps: readonly Step[]): string {
  return steps.reduce(
    (before, step) =>
      `(select case ${casesOf(step).join(' ')} else d end from (select ${before} as d offset 0) as step)`,
    `(${jsonb})`,
  )
}

function casesOf(step: Step): string[] {
  switch (step.kind) {
    case 'move':
      return moveCases(step.from, step.to)
    case 'default':
      return [
        `when ${all(areObjects(step.path), `d #> ${at(step.path)} is null`)} then jsonb_set(d, ${at(step.path)}, ${json(step.value)})`,
      ]
    case 'drop':
      return [`when ${isThere(step.path)} then d #- ${at(step.path)}`]
    case 'unit': {
      const value = `d #> ${at(step.path)}`
      const number = `(${value})::numeric`
      // Of a CASE alone PostgreSQL promises the order.
      const convertible = `case when ${all(isThere(step.path), `jsonb_typeof(${value}) = 'number'`)} then ${number} = 0 or abs(${number}) between ${magnitudeMin} and ${magnitudeMax} else false end`
      const converted = `(${value})::float8 * ${float(step.scale)} + ${float(step.offset)}`
      return [`when ${convertible} then jsonb_set(d, ${at(step.path)}, to_jsonb(${converted}))`]
    }
  }
}

/** Where the way to the target ends, an object is made of the rest of it. */
function moveCases(from: MemberPath, to: MemberPath): string[] {
  const value = `d #> ${at(from)}`
  const without = `d #- ${at(from)}`
  const ways = to.slice(0, -1).map((_, index) => to.slice(0, index + 1))
  const stays = [
    `not ${isThere(from)}`,
    `d #> ${at(to)} is not null`,
    ...ways.map((way) => `jsonb_typeof(d #> ${at(way)}) <> 'object'`),
  ].map((condition) => `coalesce(${condition}, false)`)
  return [
    `when ${stays.join(' or ')} then d`,
    ...ways.map(
      (way) =>
        `when d #> ${at(way)} is null then jsonb_set(${without}, ${at(way)}, ${built(to.slice(way.length), value)})`,
    ),
    `when true then jsonb_set(${without}, ${at(to)}, ${value})`,
  ]
}

function built(names: readonly string[], value: string): string {
  return names.reduceRight((inner, name) => `jsonb_build_object(${quoted(name)}, ${inner})`, value)
}

/** A path of PostgreSQL's goes through arrays too: ours does not. */
function areObjects(path: MemberPath): string {
  const ways = path.map((_, index) => path.slice(0, index))
  return all(
    ...ways.map(
      (way) => `coalesce(jsonb_typeof(${way.length === 0 ? 'd' : `d #> ${at(way)}`}), '') = 'object'`,
    ),
  )
}

function isThere(path: MemberPath): string {
  return all(areObjects(path), `d #> ${at(path)} is not null`)
}

function all(...conditions: readonly string[]): string {
  return `(${conditions.join(' and ')})`
}

function at(path: readonly string[]): string {
  return `array[${path.map(quoted).join(', ')}]::text[]`
}

function json(value: unknown): string {
  return `${quoted(JSON.stringify(value))}::jsonb`
}

function float(value: number): string {
  return `'${value}'::float8`
}

/** With `standard_conforming_strings`, which is on unless somebody turns it off, a backslash is one. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}
