import { resolve } from 'node:path'
import { quoted } from '../src/settings/shell.ts'
import { demoTypes } from './fleet/sensors.ts'
import type { Stack } from './stack/stack.ts'
import { told } from './walk.ts'

type Looked = Pick<
  Stack,
  'pki' | 'mqtt' | 'databaseUrl' | 'edgeOps' | 'cloudOps' | 'configFiles' | 'logs' | 'hasApi'
>

/**
 * Commands with which somebody looks into a run, as they can be copied into whatever shell, in whatever folder of the project. Undefined: there
 * is no certificate for the visitor.
 */
export function howToLook(stack: Looked, visitor: string): string | undefined {
  const pair = stack.pki.devices.find((device) => device.commonName === visitor)
  if (!pair) return undefined
  const { host, port, caFile } = stack.mqtt
  const [cloud, edge] = [path(stack.configFiles.clouds[0] ?? ''), path(stack.configFiles.edge)]
  const commands = [
    told('the edge; also /readyz', `curl ${stack.edgeOps}/metrics`),
    told('the cloud', `curl ${stack.cloudOps[0] ?? ''}/metrics`),
    told('is anything missing', `npx tidegate audit --config ${cloud}`),
    ...(stack.hasApi
      ? [
          told('what broken sensors sent', `npx tidegate dead quarantine --config ${cloud}`),
          told('what a consumer could not process', `npx tidegate dead groups --config ${cloud}`),
        ]
      : ['  no tidegate dead: the path of this folder is too long for the socket that it asks by']),
    told('what waits in the gateway', `npx tidegate outbox inspect --config ${edge}`),
  ]
  return `
Look inside with your own clients:
  mosquitto_pub -h ${host} -p ${port} -i ${visitor} -q 1 --cafile ${path(caFile)} \\
    --cert ${path(pair.certFile)} --key ${path(pair.keyFile)} \\
    -t devices/${visitor}/events/${demoTypes.climate} \\
    -m '{"temperature":21.5,"humidity":40}'
  psql '${stack.databaseUrl}' \\
    -c 'select type, count(*) from tidegate.events group by 1'
${commands.join('\n')}
  logs: ${[stack.logs.edge, ...stack.logs.clouds].map(path).join(' ')}
`
}

function path(file: string): string {
  return quoted(resolve(file))
}
