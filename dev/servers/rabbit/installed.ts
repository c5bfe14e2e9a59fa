import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { renderConfig, renderDefinitions, renderPlugins } from './files.ts'
import type { RabbitPlace, RabbitRequest } from './place.ts'
import { keepPort, keepState } from '../state.ts'

/** Writes everything a separate node needs into `dir`, so that nothing in /etc, /var or $HOME has a say. */
export async function rabbitInstalled(bin: string, request: RabbitRequest): Promise<RabbitPlace> {
  const { dir } = request
  const state = keepState(dir, () => ({
    node: `tidegate-${randomBytes(6).toString('hex')}@localhost`,
    cookie: randomBytes(24).toString('hex'),
  }))
  const epmdPort = String(await keepPort(dir, 'epmd'))
  const distPort = String(await keepPort(dir, 'dist'))
  writeFiles(request, state.cookie)
  const env = environment(dir, { node: state.node, epmdPort, distPort })
  const pidFile = join(dir, 'rabbit.pid')
  return {
    plan: {
      helpers: [{ file: 'epmd', args: ['-address', '127.0.0.1', '-port', epmdPort], env, cwd: dir }],
      server: { file: join(bin, 'rabbitmq-server'), args: [], env, cwd: dir },
      stopSignal: 'SIGTERM',
      graceMs: 15_000,
      consoleFile: join(dir, 'console.log'),
    },
    pidFile,
    ctl: (args) => ({ file: join(bin, 'rabbitmqctl'), args, env, cwd: dir }),
  }
}

function writeFiles({ dir, port, tlsPort, spec }: RabbitRequest, cookie: string): void {
  const at = (name: string): string => join(dir, name)
  for (const folder of ['home', 'data', 'log', 'conf.d'])
    mkdirSync(at(folder), { recursive: true, mode: 0o700 })
  rmSync(at('home/.erlang.cookie'), { force: true })
  writeFileSync(at('home/.erlang.cookie'), cookie, { mode: 0o400 })
  writePrivately(at('definitions.json'), renderDefinitions(spec.users, ['/', ...(spec.vhosts ?? [])]))
  writePrivately(at('enabled_plugins'), renderPlugins(spec.plugins ?? []))
  writePrivately(at('advanced.config'), '[].\n')
  writePrivately(
    at('rabbitmq.conf'),
    renderConfig({
      listen: `127.0.0.1:${port}`,
      definitionsFile: at('definitions.json'),
      logDir: at('log'),
      ...(spec.tls && tlsPort !== undefined && { tls: { listen: `127.0.0.1:${tlsPort}`, files: spec.tls } }),
    }) + (spec.extraConfig ?? ''),
  )
}

function environment(
  dir: string,
  names: { node: string; epmdPort: string; distPort: string },
): Record<string, string> {
  const at = (name: string): string => join(dir, name)
  return {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    LANG: 'C.UTF-8',
    HOME: at('home'),
    ERL_EPMD_PORT: names.epmdPort,
    ERL_EPMD_ADDRESS: '127.0.0.1',
    RABBITMQ_NODENAME: names.node,
    RABBITMQ_DIST_PORT: names.distPort,
    RABBITMQ_MNESIA_BASE: at('data'),
    RABBITMQ_LOG_BASE: at('log'),
    RABBITMQ_PID_FILE: at('rabbit.pid'),
    RABBITMQ_CONFIG_FILE: at('rabbitmq.conf'),
    RABBITMQ_CONFIG_FILES: at('conf.d'),
    RABBITMQ_CONF_ENV_FILE: at('rabbitmq-env.conf'),
    RABBITMQ_ADVANCED_CONFIG_FILE: at('advanced.config'),
    RABBITMQ_ENABLED_PLUGINS_FILE: at('enabled_plugins'),
    // The leash runs epmd; one that Erlang started would leave our process group and stay behind.
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: onLoopback,
    RABBITMQ_CTL_ERL_ARGS: onLoopback,
    // By default all rabbitmqctl of a machine share ten ports.
    RABBITMQ_CTL_DIST_PORT_MIN: '10000',
    RABBITMQ_CTL_DIST_PORT_MAX: '11999',
  }
}

const onLoopback = '-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}'

/** For the owner's eyes; the mode given on writing holds for new files only. */
function writePrivately(file: string, text: string): void {
  writeFileSync(file, text, { mode: 0o600 })
  chmodSync(file, 0o600)
}
