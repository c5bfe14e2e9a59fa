import { copyFileSync, chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { containerPlan, fetchImage, inContainer, removeContainer } from '../docker.ts'
import { renderConfig, renderDefinitions, renderPlugins } from './files.ts'
import type { RabbitPlace, RabbitRequest } from './place.ts'

const image = 'rabbitmq:3.13'

/** The same node in Docker's official image. Its `pid` is the Docker client's. */
export async function rabbitInDocker(
  { dir, port, tlsPort, spec }: RabbitRequest,
  options: { say: (line: string) => void; signal?: AbortSignal },
): Promise<RabbitPlace> {
  await fetchImage(image, options)
  await removeContainer(dir)

  // The image's own user must read these; their secrecy is the closed folder around them.
  const conf = join(dir, 'conf')
  mkdirSync(conf, { recursive: true, mode: 0o755 })
  const put = (name: string, text: string): void => writeFileSync(join(conf, name), text, { mode: 0o644 })
  if (spec.tls) {
    for (const [name, file] of Object.entries(tlsNames)) {
      copyFileSync(spec.tls[name as keyof typeof tlsNames], join(conf, file))
      chmodSync(join(conf, file), 0o644)
    }
  }
  put('definitions.json', renderDefinitions(spec.users, ['/', ...(spec.vhosts ?? [])]))
  put('enabled_plugins', renderPlugins(spec.plugins ?? []))
  put(
    'rabbitmq.conf',
    renderConfig({
      listen: '5672',
      definitionsFile: inside('definitions.json'),
      ...(spec.tls && {
        tls: {
          listen: '5671',
          files: {
            caFile: inside(tlsNames.caFile),
            certFile: inside(tlsNames.certFile),
            keyFile: inside(tlsNames.keyFile),
          },
        },
      }),
    }) + (spec.extraConfig ?? ''),
  )
  return {
    plan: containerPlan({
      image,
      dir,
      dataPath: '/var/lib/rabbitmq',
      ports: { 5672: port, ...(tlsPort !== undefined && { 5671: tlsPort }) },
      env: {
        RABBITMQ_CONFIG_FILE: inside('rabbitmq.conf'),
        RABBITMQ_ENABLED_PLUGINS_FILE: inside('enabled_plugins'),
      },
      stopSignal: 'SIGTERM',
    }),
    ctl: (args) => inContainer(dir, ['rabbitmqctl', ...args]),
  }
}

const tlsNames = { caFile: 'ca.pem', certFile: 'cert.pem', keyFile: 'key.pem' }

function inside(name: string): string {
  return `/etc/tidegate/${name}`
}
