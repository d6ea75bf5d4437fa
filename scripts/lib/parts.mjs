// The parts of a machine that some tests need: programs which npm does not install. Run by itself it prints those that are present, with commas.
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Server programs are often not on the PATH of a person who is not root. */
const folders = [...(process.env.PATH ?? '').split(delimiter).filter(Boolean), '/usr/local/sbin', '/usr/sbin', '/sbin'];

/** The full path of a program, or undefined. */
function findProgram(...names) {
  for (const name of names) {
    for (const folder of folders) {
      const path = join(folder, name);
      try {
        accessSync(path, constants.X_OK);
        return path;
      } catch {
        // Not in this folder; the next one may have it.
      }
    }
  }
  return undefined;
}

function isRoot() {
  return process.getuid?.() === 0;
}

function canMakePythonEnvironments() {
  const python = findProgram('python3');
  return python !== undefined && spawnSync(python, ['-c', 'import venv, ensurepip'], { stdio: 'ignore' }).status === 0;
}

function canMount() {
  return spawnSync('unshare', ['--mount', 'true'], { stdio: 'ignore' }).status === 0;
}

/** name, whether it is present, what it is for, how to get it on Debian; an optional one is missed by nobody under CI=true. */
export const parts = [
  {
    name: 'docker',
    // The tests start an engine of their own, with its own data, socket and bridge.
    present: () => isRoot() && ['dockerd', 'docker', 'ip'].every((name) => findProgram(name) !== undefined),
    purpose:
      'sessions in real containers: the tests use the engine that runs here, or start one of their own, which needs root',
    install: 'apt-get install docker.io iproute2 iptables, and run as root: the tests start an engine of their own',
  },
  {
    name: 'sshd',
    present: () => findProgram('sshd') !== undefined && findProgram('ssh') !== undefined,
    purpose: 'the stock OpenSSH client and server',
    install: 'apt-get install openssh-server openssh-client',
  },
  {
    name: 'chromium',
    present: () => findProgram('chromium', 'chromium-browser', 'google-chrome') !== undefined,
    purpose: 'pages in a real browser',
    install: 'apt-get install chromium',
  },
  {
    name: 'prometheus',
    present: () => findProgram('prometheus') !== undefined && findProgram('promtool') !== undefined,
    purpose: 'metrics and scrape file in a real Prometheus',
    install: 'apt-get install prometheus',
  },
  {
    name: 'python',
    // Debian's Python comes without what makes an environment of its own: a package beside it has that.
    present: () => canMakePythonEnvironments(),
    purpose: 'the official client of Vast.ai, which pip installs',
    install: 'apt-get install python3-venv',
  },
  {
    name: 'faketime',
    present: () => findProgram('faketime') !== undefined,
    purpose: 'a clock that jumps, and one that runs fast',
    install: 'apt-get install faketime',
  },
  {
    name: 'strace',
    present: () => findProgram('strace') !== undefined,
    purpose: 'a disk that fails under a running process',
    install: 'apt-get install strace, and run as root',
  },
  {
    name: 'tmpfs',
    present: () => canMount(),
    purpose: 'a disk that is full',
    install: 'run as root: the tests mount a disk of two megabytes of their own',
  },
  {
    name: 'node24',
    optional: true,
    present: () => Number(process.versions.node.split('.')[0]) >= 24,
    purpose: 'what only Node 24 shows; .ci/node24.sh runs the tests under it',
    install: 'npx -y -p node@24 -- npm test',
  },
];

/** The names of the parts that this machine has. */
function presentParts() {
  return parts.filter(({ present }) => present()).map(({ name }) => name);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(presentParts().join(','));
