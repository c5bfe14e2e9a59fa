import { writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { allRoutes } from '../../cloud/api/routes/all.ts'
import { openapiOf } from '../../cloud/api/routes/openapi.ts'
import { loadDecoders } from '../../edge/admission/codecs/route-decoders.ts'
import { refuseUnknownVersions } from '../../edge/admission/schema-check.ts'
import { edgeConfigSchema, loadEdgeConfig } from '../../edge/config.ts'
import { decodeBounds } from '../../edge/settings.ts'
import { messageOf, TidegateError } from '../../src/errors.ts'
import { asyncapiOf, type Topology } from './document.ts'
import type { Json } from './json.ts'
import { pageOf } from './page/page.ts'
import { noSchemaFolder, readSchemas } from './schemas.ts'

/** `tidegate asyncapi` */
export function registerAsyncapiCommand(program: Command): void {
  program
    .command('asyncapi')
    .description('print the AsyncAPI 3.0 document of what devices send and what goes over RabbitMQ')
    .option('-c, --config <file>', 'of a gateway: its routes, its schemas; see config/edge.example.yaml')
    .addOption(
      new Option('--schemas <folder>', 'only schemas, with a gateway’s defaults').conflicts('config'),
    )
    .option('--out <file>', 'write it there')
    .option('--html <file>', 'write a page to read instead, of this and of the HTTP API')
    .action((options: Options) => {
      const document = documentOf(options)
      if (options.html !== undefined) write(options.html, pageOf(document, openapiOf(allRoutes)))
      if (options.out !== undefined) write(options.out, textOf(document))
      else if (options.html === undefined) process.stdout.write(textOf(document))
    })
}

interface Options {
  config?: string
  schemas?: string
  out?: string
  html?: string
}

function documentOf({ config, schemas }: Options): Json {
  const topology = config === undefined ? defaultsWith(schemas) : loadEdgeConfig(config, process.env)
  const { folder, formats } = topology.schemas
  const read = folder === undefined ? noSchemaFolder : readSchemas(folder, formats)
  // What the gateway would not start with is in no document.
  refuseUnknownVersions(topology.routes, read.registry)
  loadDecoders(topology.routes, decodeBounds(topology))
  return asyncapiOf(read, topology)
}

function defaultsWith(folder: string | undefined): Topology {
  if (folder === undefined)
    throw new TidegateError('CONFIG_INVALID', {
      message: 'neither a configuration nor a folder of schemas was named',
      retryable: false,
      hint: 'tidegate asyncapi --config edge.yaml, or --schemas schemas',
    })
  return edgeConfigSchema.parse({
    gateway: 'gateway-1',
    mqtt: { tls: { ca: 'ca.crt', cert: 'edge.crt', key: 'edge.key' } },
    schemas: { folder: resolve(folder) },
    uplink: { url: 'amqps://rabbitmq.example' },
  })
}

/** As it is committed. */
export function textOf(document: Json): string {
  return `${JSON.stringify(document, undefined, 2)}\n`
}

function write(file: string, text: string): void {
  try {
    writeFileSync(file, text)
  } catch (cause) {
    throw new TidegateError('DOCUMENT_UNWRITABLE', {
      message: `cannot write ${file}: ${messageOf(cause)}`,
      retryable: false,
      hint: 'name a file in a folder that is there, that this user may write to',
      cause,
    })
  }
}
