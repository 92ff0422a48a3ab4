#!/bin/bash
# Boots a Debian kernel package in QEMU and runs a command there as root, on this machine's own files.
#
#   VM_SECONDS=N run.sh KERNEL.deb WORK SHARED COMMAND...
#
# WORK keeps what is made of the package. The root is this machine's, read-only below an overlay in memory; what the
# command writes to the directory SHARED stays. Prints the command's output, ends with its exit code; 126 says that the
# machine could not be made, 125 that it ended without a result, or was ended after VM_SECONDS.
# Needs root and qemu-system-x86, busybox-static, xz-utils.
set -eu
deb=$1 work=$2 shared=$(realpath "$3")
shift 3
fail() { echo "run.sh: $*" >&2; exit 126; }
busybox=$(command -v busybox) || fail "there is no busybox (apt-get install busybox-static)"
fsd=$(for f in /usr/lib/qemu/virtiofsd /usr/libexec/virtiofsd; do [ -x $f ] && echo $f; done | head -1)
[ -n "$fsd" ] || fail "there is no virtiofsd"
command -v qemu-system-x86_64 >/dev/null || fail "there is no qemu-system-x86_64"

# The kernel, its modules, and an initramfs that has those which lead to the root.
kernel=$(realpath -m "$work")/$(basename "$deb" .deb)
if [ ! -e "$kernel/initrd" ]; then
  rm -rf "$kernel.new"; mkdir -p "$kernel.new"
  dpkg-deb -x "$deb" "$kernel.new"
  release=$(basename "$kernel.new"/boot/vmlinuz-*); release=${release#vmlinuz-}
  [ -d "$kernel.new/lib" ] || mv "$kernel.new/usr/lib" "$kernel.new/lib"
  modules=lib/modules/$release
  find "$kernel.new/$modules" -name '*.ko.xz' -print0 | xargs -0 -r xz -d
  "$busybox" depmod -b "$kernel.new" "$release"
  initrd=$kernel.new/ir
  mkdir -p "$initrd"/{bin,sbin,dev,proc,sys,host,mem,root,"$modules"}
  cp "$busybox" "$initrd/bin/busybox"; ln -s ../bin/busybox "$initrd/sbin/modprobe"
  (cd "$kernel.new/$modules" && find . \( -path '*/virtio/*' -o -path '*/fs/fuse/*' -o -path '*/overlayfs/*' \
    -o -name 'modules.*' \) -type f -exec cp --parents {} "$initrd/$modules/" \;)
  cat > "$initrd/init" <<'INIT'
#!/bin/busybox sh
b=/bin/busybox; r=/root; release=$($b uname -r)
$b mount -t proc p /proc; $b mount -t sysfs s /sys; $b mount -t devtmpfs d /dev
for m in virtio_pci virtiofs overlay; do $b modprobe $m; done
for word in $($b cat /proc/cmdline); do case $word in rc.*) eval "${word#rc.}";; esac; done
$b mount -t virtiofs -o ro root /host && $b mount -t tmpfs m /mem && $b mkdir /mem/u /mem/w &&
  $b mount -t overlay -o lowerdir=/host,upperdir=/mem/u,workdir=/mem/w o $r || $b reboot -f
# For the kernel, which asks the modprobe of this root, and for the command.
$b mkdir -p $r/lib/modules/$release
for to in /lib/modules $r/lib/modules; do $b mount --bind /host$kernel/lib/modules/$release $to/$release; done
$b mount -t proc p $r/proc; $b mount -t sysfs s $r/sys; $b mount -t devtmpfs d $r/dev
$b mkdir -p $r/dev/shm $r/dev/pts; $b mount -t tmpfs t $r/run; $b mkdir -p $r/run/netns; $b mount -t tmpfs t $r/tmp
$b mount -t bpf b $r/sys/fs/bpf; $b mount -t virtiofs shared $r$shared; $b ip link set lo up
[ -x $r/sbin/modprobe ] || $b cp $b $r/sbin/modprobe
$b stty -F /dev/ttyS1 raw
$b chroot $r /bin/bash $shared/.command </dev/null >/dev/ttyS1 2>&1
echo $? > $r$shared/.result
$b sync; $b reboot -f
INIT
  chmod +x "$initrd/init"
  (cd "$initrd" && find . | "$busybox" cpio -H newc -o 2>/dev/null | gzip -1 > "$kernel.new/initrd")
  rm -rf "$initrd" "$kernel"; mv "$kernel.new" "$kernel"
fi

run=$(mktemp -d -t route-cache-vm.XXXXXX)
started=()
end() { for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done; rm -rf "$run"; }
trap end EXIT
printf 'export PATH=%q HOME=/root LC_ALL=C.UTF-8\ncd %q\n' "$PATH" "$PWD" > "$shared/.command"
printf '%q ' "$@" >> "$shared/.command"
rm -f "$shared/.result"

# The daemon that serves the root sees it read-only itself.
unshare -m --propagation private sh -c 'mount --bind "$1" "$1" && mount -t tmpfs t /run && mount -o remount,bind,ro / &&
  exec "$2" --socket-path="$1/root" -o source=/ -o sandbox=chroot -o cache=always' sh "$run" "$fsd" 2>"$run/log" &
started+=($!)
"$fsd" --socket-path="$run/shared" -o source="$shared" -o sandbox=chroot 2>>"$run/log" &
started+=($!)
for socket in root shared; do
  for _ in $(seq 250); do [ -S "$run/$socket" ] && break; sleep 0.02; done
  [ -S "$run/$socket" ] || { cat "$run/log" >&2; fail "virtiofsd did not start"; }
done

timeout "$VM_SECONDS" qemu-system-x86_64 -M q35 -accel tcg,thread=multi -cpu max -m 1024 -smp 2 \
  -object memory-backend-memfd,id=m,size=1024M,share=on -numa node,memdev=m \
  -nodefaults -no-user-config -display none -no-reboot -nic none \
  -serial file:"$run/console" -chardev stdio,id=out,signal=off -serial chardev:out \
  -chardev socket,id=c0,path="$run/root" -device vhost-user-fs-pci,chardev=c0,tag=root \
  -chardev socket,id=c1,path="$run/shared" -device vhost-user-fs-pci,chardev=c1,tag=shared \
  -kernel "$kernel"/boot/vmlinuz-* -initrd "$kernel/initrd" \
  -append "console=ttyS0 panic=-1 mitigations=off loglevel=4 rc.kernel=$kernel rc.shared=$shared" </dev/null 2>"$run/errors" || true
if [ ! -s "$shared/.result" ]; then
  tail -n 20 "$run/console" "$run/errors" >&2
  echo "run.sh: the virtual machine ended without a result" >&2
  exit 125
fi
exit "$(cat "$shared/.result")"
