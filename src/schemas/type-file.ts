import { z } from 'zod'
import { messageOf } from '../errors.ts'
import { faultsOf } from '../settings/faults.ts'
import { knownKeys } from '../settings/known-keys.ts'
import { wordsFor } from '../settings/words.ts'
import { parseYaml } from '../settings/yaml-file.ts'

/** Which versions have to understand each other (docs/SCHEMAS.md); the names and meanings are Confluent's. */
export const compatibilityModes = [
  'BACKWARD',
  'BACKWARD_TRANSITIVE',
  'FORWARD',
  'FORWARD_TRANSITIVE',
  'FULL',
  'FULL_TRANSITIVE',
  'NONE',
] as const
export type CompatibilityMode = (typeof compatibilityModes)[number]

const words = z.string().min(1)
const version = z.int().min(1).max(999_999)

const typeFile = z.strictObject({
  compatibility: z.enum(compatibilityModes).default('BACKWARD'),
  owner: words.optional(),
  description: words.optional(),
  retired: z.array(version).default([]),
  unknown: z.enum(['quarantine', 'pass']).optional(),
  accepted: z
    .array(
      z.strictObject({
        version,
        against: version.optional(),
        direction: z.enum(['BACKWARD', 'FORWARD']).default('BACKWARD'),
        rule: words,
        path: z.string(),
        reason: words,
      }),
    )
    .default([]),
  asPublished: version.optional(),
})

/** What `type.yaml` says of an event type. */
export type TypeSettings = z.output<typeof typeFile>

export const typeFileName = 'type.yaml'
const known = knownKeys(typeFile)

/** What the text of a type's file says, and all that is wrong with it; without a file, what holds by default. */
export function readTypeFile(
  text: string | undefined,
  file: string,
): { settings: TypeSettings; faults: string[] } {
  const byDefault = typeFile.parse({})
  if (text === undefined) return { settings: byDefault, faults: [] }
  try {
    const yaml = parseYaml(text, file)
    const { tree } = yaml
    const read = typeFile.safeParse(tree, { error: wordsFor })
    if (read.success) return { settings: read.data, faults: [] }
    const faults = faultsOf(read.error.issues, { tree, known }).map(({ path, text: said }) => {
      const line = yaml.lineOf(path)
      return `${path.map(String).join('.') || '(top)'}: ${said}${line === undefined ? '' : ` (line ${line})`}`
    })
    return { settings: byDefault, faults }
  } catch (error) {
    return { settings: byDefault, faults: [messageOf(error)] }
  }
}
