IFS= read -r cluster
IFS= read -r socket
say() { printf "%s=%s\n" "$1" "$2"; }
has() { command -v "$1" >/dev/null 2>&1; }

say kernel "$(uname -s)"
say machine "$(uname -m)"
say hostname "$(uname -n)"
unset OMP_NUM_THREADS OMP_THREAD_LIMIT
say cpus "$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || grep -c "^processor" /proc/cpuinfo)"
while read -r key value rest; do
  [ "$key" = MemTotal: ] && say memory_kb "$value" && break
done < /proc/meminfo
bits=$(getconf LONG_BIT 2>/dev/null)
if [ -z "$bits" ]; then
  case $(dd if=/bin/sh bs=1 skip=4 count=1 2>/dev/null | od -An -tu1) in
    *1*) bits=32;;
    *2*) bits=64;;
  esac
fi
say bits "$bits"
say user "$(id -un 2>/dev/null || id -u)"
say clock "$(date +%s)"
say client "${SSH_CONNECTION%% *}"

home=$(cd "$HOME" 2>/dev/null && pwd -P)
dir=$home/.local/share/otto/$cluster
say home "$home"
say dir "$dir"
there=$dir
while [ ! -d "$there" ] && [ "$there" ]; do there=${there%/*}; done
[ "$home" ] && [ -w "$there" ] && say writable yes
df -Pk "$there/" 2>/dev/null | {
  read -r head; read -r device size used free rest; say disk_kb "$free"
  point=${rest#* } last=
  while read -r device at type options more; do [ "$at" = "$point" ] && last=$options; done < /proc/mounts
  case ",$last," in *,noexec,*) say noexec "$point";; esac
} 2>/dev/null

for program in dockerd docker podman; do has "$program" && say engine "$program"; done
if [ -S "$socket" ]; then
  if [ -w "$socket" ]; then say socket writable; else say socket present; fi
fi

for agent in "$dir"/agents/*/otto-agent; do
  [ -f "$agent" ] || continue
  hash=${agent%/*}
  say agent "${hash##*/} $(($(wc -c < "$agent")))"
done
grep -lsF "/otto/$cluster" /proc/[0-9]*/cmdline 2>/dev/null | while IFS= read -r file; do
  process=${file%/cmdline}
  [ -O "$process" ] && continue
  set -- $(grep -s "^NSpid:" "$process/status")
  [ $# -gt 2 ] && continue
  say other "${process#/proc/} $(tr "\0" " " < "$file")"
done
if [ -r "$dir/agent.pid" ]; then
  { read -r pid; read -r read_enrolment; } < "$dir/agent.pid"
  say running "$(readlink "/proc/$pid/exe")"
  say running_enrolment "$read_enrolment"
  stat=
  [ "$pid" ] && stat=$(cat "/proc/$pid/stat" 2>/dev/null)
  stat=${stat##*") "}
  say process "$pid ${stat%% *}"
fi
for file in "$dir"/state/assignment.json "$dir"/state/assignment.previous.json; do [ -s "$file" ] && say told yes; done
[ -r "$dir/agent.floor" ] && say floor "$(cat "$dir/agent.floor")"
[ -r "$dir/agent.owner" ] && say owner "$(cat "$dir/agent.owner")"
[ -r "$dir/agent.json" ] && say enrolment "$(cat "$dir/agent.json")"
exit 0
