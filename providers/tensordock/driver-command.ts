/** How long another package manager is waited for, seconds: their images update themselves while they boot. */
const LOCK_WAIT_S = 600;

// Images come without a driver, or with one whose packages are half installed and whose kernel module was never built. So in this
// order, until nvidia-smi finds a GPU: nothing; finish what was begun; install. No step needs a reboot.
const FOUND = 'nvidia-smi -L > /dev/null 2>&1';

/** One line of sh that leaves a working driver alone, repairs a broken one and installs a missing one. */
export function driverCommand(driverPackage: string): string {
  const apt = `apt-get -y -o DPkg::Lock::Timeout=${LOCK_WAIT_S}`;
  const untilUnlocked = `for n in $(seq ${LOCK_WAIT_S / 5}); do fuser /var/lib/dpkg/lock-frontend > /dev/null 2>&1 || break; sleep 5; done`;
  const repair = [
    'export DEBIAN_FRONTEND=noninteractive',
    'systemctl stop unattended-upgrades.service apt-daily.timer apt-daily-upgrade.timer',
    untilUnlocked,
    'dpkg --configure -a --force-confold',
    `${apt} install -f`,
    'dkms autoinstall',
    'modprobe nvidia',
  ].join('; ');
  const install = [`${apt} update`, `${apt} install linux-headers-$(uname -r) ${driverPackage}`, 'modprobe nvidia'].join('; ');
  return `${FOUND} || { ${repair}; ${FOUND}; } || { ${install}; }`;
}
