import type { EdgeConfig } from '../../edge/config.ts'
import { TidegateError } from '../../src/errors.ts'
import { partitionName } from '../../src/contract/wire.ts'
import { brokerParts } from './broker.ts'
import { deviceParts } from './devices.ts'
import { deviceEventComponent, eventComponent } from './envelope.ts'
import { Examples } from './examples.ts'
import { type Json, referencesIn, resolvePointer } from './json.ts'
import { componentsOf, type Schemas } from './schemas.ts'

/** What the document is made of: a gateway's configuration, or the defaults of one. */
export type Topology = Pick<EdgeConfig, 'routes' | 'schemas' | 'events' | 'profiles'> & {
  mqtt: Pick<EdgeConfig['mqtt'], 'port' | 'subscribe'>
  uplink: Pick<EdgeConfig['uplink'], 'url' | 'exchange' | 'partitions' | 'batch'>
}

/**
 * The AsyncAPI 3.0 document of a gateway and the cloud behind it: what devices may send, what goes over RabbitMQ, in which form. Made of
 * the schemas, the routes and the topology that the programs themselves work with, so that it cannot say what is not so. The application
 * that it describes is Tidegate: it receives from devices, and sends to queues.
 * @throws TidegateError `DOCUMENT_BROKEN`
 */
export function asyncapiOf(schemas: Schemas, topology: Topology): Json {
  const examples = new Examples(schemas, topology as EdgeConfig)
  const devices = deviceParts(schemas, topology as EdgeConfig, examples)
  const isOpen = topology.schemas.unknownTypes === 'accept'
  const broker = brokerParts(schemas, { uplink: topology.uplink, isOpen }, examples)
  const document = {
    asyncapi: '3.0.0',
    info: {
      title: 'Tidegate events',
      version: '1',
      description:
        'What devices send to a gateway over MQTT, and what comes of it on RabbitMQ. docs/WIRE.md explains envelope, chain, batches and headers. A topic that fits several channels is on the first of them.',
      license: { name: 'Apache-2.0' },
    },
    defaultContentType: 'application/json',
    servers: serversOf(topology),
    channels: { ...devices.channels, ...broker.channels },
    operations: { ...devices.operations, ...broker.operations },
    components: {
      securitySchemes: {
        certificate: {
          type: 'X509',
          description: 'A client certificate; its common name is the device ID, or the gateway',
        },
        password: { type: 'userPassword', description: 'The user is the gateway’s: docs/OPERATIONS.md' },
      },
      parameters: parametersOf(topology.uplink.partitions),
      schemas: {
        ...componentsOf(schemas.versions),
        Event: eventComponent(),
        DeviceEvent: deviceEventComponent(),
      },
      messages: { ...devices.messages, ...broker.messages },
    },
  }
  refuseDangling(document)
  return document
}

/** Whoever reads it has nothing else. That one leads outside, to JSON Schema itself, is all right. */
function refuseDangling(document: Json): void {
  const dangling = referencesIn(document).filter(
    (one) => one.startsWith('#') && resolvePointer(document, one) === undefined,
  )
  if (dangling.length === 0) return
  throw new TidegateError('DOCUMENT_BROKEN', {
    message: `there are references in the document that lead nowhere: ${[...new Set(dangling)].join(', ')}`,
    retryable: false,
    hint: 'a fault of Tidegate’s: report it, with the schema whose name stands there',
  })
}

function serversOf({ mqtt, uplink }: Topology): Json {
  // Of the address the host alone: it may hold a password.
  const { protocol, host, pathname } = new URL(uplink.url)
  const vhost = pathname.replace(/^\/$/, '')
  return {
    gateway: {
      host: `{gateway}:${mqtt.port}`,
      protocol: 'mqtts',
      protocolVersion: '3.1.1',
      description: 'A gateway: `tidegate edge`',
      variables: { gateway: { default: 'gateway.example', description: 'where the gateway is' } },
      security: [{ $ref: '#/components/securitySchemes/certificate' }],
    },
    rabbitmq: {
      host,
      ...(vhost !== '' && { pathname: vhost }),
      protocol: protocol.replace(':', ''),
      protocolVersion: '0.9.1',
      description: 'The RabbitMQ between gateways and `tidegate cloud`',
      security: [
        { $ref: '#/components/securitySchemes/password' },
        { $ref: '#/components/securitySchemes/certificate' },
      ],
    },
  }
}

function parametersOf(partitions: number): Json {
  const numbers = Array.from({ length: partitions }, (_, partition) => partitionName(partition))
  return {
    partition: { description: 'FNV-1a (32 bit) of the device ID modulo the partitions', enum: numbers },
    type: { description: 'the event type' },
    group: { description: 'a consumer group' },
    delay: { description: 'how long letters wait there', examples: ['5s', '30s', '2m'] },
    gateway: { description: 'the name of a gateway' },
  }
}
