import { TidegateError } from '../../src/errors.ts'
import { type Outcome, run, tail } from './command.ts'

export interface Packages {
  /** As a person calls it: `RabbitMQ`. */
  title: string
  names: readonly string[]
  /** Units that Debian enables on a first installation and that must not come up at the next boot. */
  units: readonly string[]
}

/**
 * Installs Debian packages for their binaries alone: no service is started, enabled or configured, no database
 * cluster is made. One shell owns the temporary settings and removes them when it ends, even if we are killed
 * half-way. Installations of several processes queue behind one another.
 * @throws TidegateError `SERVER_UNOBTAINABLE` without root or sudo, `SERVER_INSTALL_FAILED` if apt-get fails.
 */
export async function installPackages(
  packages: Packages,
  options: { say: (line: string) => void; signal?: AbortSignal },
): Promise<void> {
  const shell = await rootShell(packages)
  options.say(
    `Installing ${packages.title} from Debian's packages (apt-get install ${packages.names.join(' ')}) …`,
  )
  const outcome = await run(
    { file: shell[0], args: [...shell.slice(1), installScript(packages)] },
    options.signal && { signal: options.signal },
  )
  options.signal?.throwIfAborted()
  if (outcome.code !== 0) throw installFailed(packages, outcome)
}

async function rootShell(packages: Packages): Promise<[string, ...string[]]> {
  if ((await run({ file: 'apt-get', args: ['--version'] })).code !== 0) {
    throw unobtainable(packages, 'this machine has no apt-get')
  }
  if (process.getuid?.() === 0) return ['/bin/sh', '-c']
  if ((await run({ file: 'sudo', args: ['-n', 'true'] })).code === 0) return ['sudo', '-n', '/bin/sh', '-c']
  throw unobtainable(packages, 'installing it needs root or passwordless sudo')
}

export function installScript({ names, units }: Packages): string {
  return `set -u
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 LC_ALL=C.UTF-8
exec 9>/run/tidegate-install.lock
flock 9
made=''
trap 'rm -f $made' EXIT
trap 'exit 1' HUP INT TERM
# Debian asks this script before it starts any service of a package.
if [ ! -e /usr/sbin/policy-rc.d ]; then
  made=/usr/sbin/policy-rc.d
  printf '#!/bin/sh\\nexit 101\\n' >$made
  chmod 755 $made
fi
no_cluster=/etc/postgresql-common/createcluster.d/tidegate-install.conf
made="$made $no_cluster"
mkdir -p "\${no_cluster%/*}"
echo 'create_main_cluster = false' >$no_cluster
fresh=''
for name in ${names.join(' ')}; do
  dpkg-query -W -f '\${db:Status-Status}' "$name" 2>/dev/null | grep -qx installed || fresh=yes
done
install() {
  apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=120 -o Dpkg::Options::=--force-confold \\
    install ${names.join(' ')} </dev/null
}
if ! apt-cache show ${names.join(' ')} >/dev/null 2>&1 || ! install; then
  apt-get -q -o DPkg::Lock::Timeout=120 update </dev/null
  install || exit 1
fi
# The next boot is a person's business: a package we brought in for its binaries stays off.
if [ "$fresh" ] && command -v systemctl >/dev/null; then
  for unit in ${units.join(' ')}; do systemctl disable "$unit" >/dev/null 2>&1; done
fi
exit 0
`
}

function unobtainable(packages: Packages, reason: string): TidegateError {
  return new TidegateError('SERVER_UNOBTAINABLE', {
    message: `${packages.title} is neither given, nor installed, nor is Docker running, and ${reason}.`,
    retryable: false,
    hint: `Install it (apt-get install ${packages.names.join(' ')}), start Docker, or give its URL in the environment.`,
  })
}

function installFailed(packages: Packages, outcome: Outcome): TidegateError {
  return new TidegateError('SERVER_INSTALL_FAILED', {
    message: `apt-get could not install ${packages.title}: ${tail(outcome.stderr || outcome.stdout, 4)}`,
    retryable: true,
    hint: `Run "apt-get update && apt-get install ${packages.names.join(' ')}" as root and see what it says.`,
  })
}
