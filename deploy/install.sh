#!/bin/bash
# Installs Fallow's agent or collector as a systemd service, or removes it. Run it again to upgrade, or when a vendor's
# driver was added. A configuration that is there stays as it is.
set -euo pipefail
shopt -s nullglob
umask 022

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
action=install program='' wheel='' prefix=/opt/fallow root='' purge='' dry=''

usage() {
  cat <<'EOF'
usage: install.sh agent|collector [--wheel FILE] [--prefix DIR] [--root DIR] [--dry-run]
       install.sh uninstall agent|collector [--purge] [--prefix DIR] [--root DIR] [--dry-run]

  --wheel FILE   Fallow's wheel (default: the one in dist/ of this checkout)
  --prefix DIR   where the programs go (default: /opt/fallow)
  --root DIR     only put units, drop-ins and configuration under DIR, as for an image; devices are those in DIR/dev
  --purge        remove configuration and state too, and with the last of the two programs the user fallow
  --dry-run      say what would be done

PYTHON names the interpreter (default: python3). pip's own variables, such as PIP_INDEX_URL or PIP_FIND_LINKS, say where
packages come from; their hashes are checked.
EOF
}

die() {
  printf 'install.sh: %s\n' "$1" >&2
  exit "${2:-1}"
}

run() {
  printf '+ %s\n' "$*"
  [[ $dry ]] || "$@"
}

# put MODE FILE: standard input becomes FILE.
put() {
  printf '+ write %s (%s)\n' "$2" "$1"
  if [[ $dry ]]; then
    cat >/dev/null
  else
    mkdir -p "$(dirname "$2")"
    install -m "$1" /dev/stdin "$2"
  fi
}

systemd_runs() { [[ ! $root && -d /run/systemd/system ]]; }

parse() {
  [[ ${1-} == uninstall ]] && action=uninstall && shift
  [[ ${1-} == -h || ${1-} == --help ]] && usage && exit 0
  program=${1-}
  [[ $program == agent || $program == collector ]] || { usage >&2; exit 2; }
  shift
  while (($#)); do
    case $1 in
      --wheel | --prefix | --root)
        (($# > 1)) || die "$1 needs a value" 2
        printf -v "${1#--}" %s "$2"
        shift
        ;;
      --purge) purge=1 ;;
      --dry-run) dry=1 ;;
      *) die "unknown argument $1; see install.sh --help" 2 ;;
    esac
    shift
  done
  [[ $prefix =~ ^/[A-Za-z0-9._/-]+$ ]] || die "--prefix $prefix: expected an absolute path of letters, digits, . _ and -" 2
  root=${root%/}
  [[ $root || $dry || $EUID == 0 ]] || die "only root can install a service; try sudo, --dry-run or --root DIR"
}

install_user() {
  getent passwd fallow >/dev/null ||
    run useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin fallow
}

# What ProtectHome= and PrivateTmp= hide.
is_hidden() { [[ $1/ =~ ^/(home|root|tmp|var/tmp|run/user)/ ]]; }

make_environment() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "Python 3.11 or newer is needed, $1 is $("$1" --version); set PYTHON"
  ! is_hidden "$("$1" -c 'import sys; print(sys.base_prefix)')" ||
    die "$1 is in a folder that the services' sandbox hides; set PYTHON to one that is not, such as /usr/bin/python3"
  run "$1" -m venv "$prefix" ||
    die "no virtual environment could be made; on Debian and Ubuntu: apt-get install python3-venv"
}

install_program() {
  local lock=$here/../requirements/$program.lock built=("$here"/../dist/fallow-*.whl)
  ! is_hidden "$prefix" || die "--prefix $prefix: the services' sandbox hides that folder; expected e.g. /opt/fallow"
  if [[ ! $wheel ]]; then
    ((${#built[@]} == 1)) ||
      die "dist/ holds ${#built[@]} wheels, expected one: pip wheel --no-deps --wheel-dir dist . makes it; or name one with --wheel"
    wheel=${built[0]}
  fi
  [[ -f $wheel ]] || die "--wheel $wheel: there is no such file"
  [[ -x $prefix/bin/python ]] || make_environment "${PYTHON:-python3}"
  local pip=("$prefix/bin/python" -m pip --disable-pip-version-check --quiet install)
  run "${pip[@]}" --require-hashes --only-binary :all: -r "$lock"
  run "${pip[@]}" --no-deps --no-index --force-reinstall "$wheel"
}

install_unit() {
  sed "s|^ExecStart=/opt/fallow/|ExecStart=$prefix/|" "$here/systemd/fallow-$program.service" |
    put 0644 "$root/etc/systemd/system/fallow-$program.service"
}

install_configuration() {
  local file=$root/etc/fallow/$program.toml
  if [[ -e $file ]]; then
    printf '  %s is there and stays as it is\n' "$file"
    return
  fi
  put 0640 "$file" <"$here/$program.toml"
  [[ $root ]] || run chown root:fallow "$file"
}

# drop_in NAME "DEVICE…" [NODE…]: lets the agent at a vendor's devices, and into the groups that own their nodes.
drop_in() {
  local name=$1 devices
  read -ra devices <<<"$2"
  shift 2
  {
    printf '# Written by install.sh. Put changes into another file in this folder.\n[Service]\n'
    printf 'DeviceAllow=%s rw\n' "${devices[@]}"
    (($# == 0)) || stat -c %G "$@" | sort -u | sed '/^root$/d; s/^/SupplementaryGroups=/'
  } | put 0644 "$root/etc/systemd/system/fallow-agent.service.d/$name.conf"
}

# NVIDIA's driver tells faults from before the agent's start, and those of its switches, only in the kernel's log.
kernel_log_drop_in() {
  put 0644 "$root/etc/systemd/system/fallow-agent.service.d/kernel-log.conf" <<'EOF'
# Written by install.sh. Put changes into another file in this folder.
[Service]
DeviceAllow=/dev/kmsg r
ProtectKernelLogs=no
CapabilityBoundingSet=CAP_SYSLOG
AmbientCapabilities=CAP_SYSLOG
EOF
}

on_pci_bus() { grep -qsx "$1" /dev/null "$root"/sys/bus/pci/devices/*/vendor; }

install_drop_ins() {
  local dev=$root/dev nodes
  nodes=("$dev"/nvidia[0-9]* "$dev"/nvidiactl*)
  # The name covers all of the driver's generations (nvidia, nvidia-frontend) and nvidia-caps, needed for MIG.
  if ((${#nodes[@]})) || on_pci_bus 0x10de; then
    drop_in nvidia 'char-nvidia*' "${nodes[@]}"
    kernel_log_drop_in
    ((${#nodes[@]})) || printf '  an NVIDIA board is on the PCI bus, but not in /dev: load its driver, then run this again\n'
  fi
  nodes=("$dev"/davinci* "$dev"/devmm_svm* "$dev"/hisi_hdc*)
  ((${#nodes[@]} == 0)) || drop_in ascend "${nodes[*]#"$root"}" "${nodes[@]}"
  # AMD's boards, and Hygon's, whose driver is made from AMD's.
  nodes=("$dev"/kfd* "$dev"/mkfd* "$dev"/dri/renderD*)
  [[ ! -e $dev/kfd && ! -e $dev/mkfd ]] || drop_in kfd 'char-kfd char-mkfd char-drm' "${nodes[@]}"
}

install_all() {
  if [[ ! $root ]]; then
    install_user
    install_program
  fi
  install_unit
  install_configuration
  [[ $program == collector ]] || install_drop_ins
  if systemd_runs; then
    run systemctl daemon-reload
    run systemctl try-restart "fallow-$program.service"
  fi
  cat <<EOF

Next:
  1. edit /etc/fallow/$program.toml
  2. $prefix/bin/fallow-$program --config /etc/fallow/$program.toml --check
  3. systemctl enable --now fallow-$program
EOF
}

# Of both programs, and only what is empty: an operator's own files and another program's state stay.
purge_what_is_shared() {
  local folder
  for folder in "$root/etc/fallow" "$root/var/lib/fallow"; do
    [[ ! -d $folder ]] || run rmdir --ignore-fail-on-non-empty "$folder"
  done
  [[ ! $root && ! -e /var/lib/fallow ]] || return 0
  # A reader that hangs in its driver outlives its agent, and its lock in there must too: userdel refuses then.
  if run userdel fallow; then
    run rm -rf /run/fallow
  else
    printf '  the user fallow and /run/fallow stay: something of it still runs; a restart of the machine ends it\n'
  fi
}

uninstall_all() {
  local units=$root/etc/systemd/system other=agent
  [[ $program == collector ]] || other=collector
  ! systemd_runs || [[ ! -e $units/fallow-$program.service ]] || run systemctl disable --now "fallow-$program.service"
  run rm -rf "$units/fallow-$program.service" "$units/fallow-$program.service.d"
  ! systemd_runs || run systemctl daemon-reload
  # Both programs share the virtual environment.
  if [[ ! -e $units/fallow-$other.service && -f $root$prefix/pyvenv.cfg && -e $root$prefix/bin/fallow-$program ]]; then
    run rm -rf "$root$prefix"
  fi
  if [[ $purge ]]; then
    run rm -rf "$root/etc/fallow/$program.toml" "$root/var/lib/fallow/$program"
    [[ -e $units/fallow-$other.service ]] || purge_what_is_shared
  else
    printf '  configuration and state stay in %s; --purge removes them\n' "$root/etc/fallow and $root/var/lib/fallow"
  fi
}

parse "$@"
"${action}_all"
