import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Command } from 'commander'
import { vi } from 'vitest'
import { registerAsyncapiCommand } from '../../../cli/asyncapi/command.ts'

/** What `tidegate asyncapi` prints. */
export async function runAsyncapi(...argv: string[]): Promise<string> {
  const written: string[] = []
  const spy = vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    written.push(String(text))
    return true
  })
  try {
    const program = new Command().exitOverride().configureOutput({ writeErr: () => {} })
    registerAsyncapiCommand(program)
    for (const command of program.commands) command.exitOverride()
    await program.parseAsync(['asyncapi', ...argv], { from: 'user' })
  } finally {
    spy.mockRestore()
  }
  return written.join('')
}

export interface Document {
  servers: Record<string, { host: string; protocol: string; pathname?: string }>
  channels: Record<
    string,
    {
      address: string
      description?: string
      messages: object
      bindings?: unknown
      'x-tidegate-routes'?: Record<string, unknown>[]
      'x-tidegate-arguments'?: Record<string, unknown>
    }
  >
  operations: Record<string, { description?: string; bindings?: unknown; messages: { $ref: string }[] }>
  components: {
    schemas: Record<string, { schemaFormat: string; schema: unknown }>
    messages: Record<
      string,
      {
        summary?: string
        contentType?: string
        headers?: { properties: object }
        payload: { schemaFormat: string; schema: { allOf: unknown[] } }
        examples?: { payload: unknown }[]
      }
    >
  }
}

/** A schema folder. */
export async function schemasIn(folder: string, files: Readonly<Record<string, unknown>>): Promise<string> {
  for (const [file, schema] of Object.entries(files)) {
    await mkdir(join(folder, file, '..'), { recursive: true })
    await writeFile(join(folder, file), JSON.stringify(schema))
  }
  return folder
}

export const addressesOf = ({ channels }: Document): string[] =>
  Object.values(channels).map(({ address }) => address)

/** A configuration with these schemas and more lines, as a document. */
export async function documentWith(config: string, schemas: string, lines: string): Promise<Document> {
  const common = `gateway: gateway-7\nmqtt: { tls: { ca: ca, cert: cert, key: key } }\n`
  await writeFile(config, `${common}${lines.replace('SCHEMAS', schemas)}`)
  return JSON.parse(await runAsyncapi('--config', config)) as Document
}

export const uplink = `uplink: { url: 'amqps://gateway-7:x@rabbit.acme.example' }`
export const heat = { type: 'object', properties: { id: { type: 'string' }, celsius: { type: 'number' } } }

export function channelAt({ channels }: Document, address: string): Document['channels'][string] | undefined {
  return Object.values(channels).find((one) => one.address === address)
}
