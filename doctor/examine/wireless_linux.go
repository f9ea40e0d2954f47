package examine

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// siocgiwpower is SIOCGIWPOWER of linux/wireless.h.
const siocgiwpower = 0x8B2D

// iwreq is struct iwreq with its struct iw_param.
type iwreq struct {
	name     [unix.IFNAMSIZ]byte
	value    int32
	fixed    uint8
	disabled uint8 // power save is off
	flags    uint16
	_        [8]byte
}

// powerSave asks the kernel whether a wireless interface saves power. Kernels
// without wireless extensions do not say.
func powerSave(iface string) (on, known bool) {
	if len(iface) >= unix.IFNAMSIZ {
		return false, false
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, false
	}
	defer unix.Close(fd)
	var r iwreq
	copy(r.name[:], iface)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), siocgiwpower, uintptr(unsafe.Pointer(&r))); errno != 0 {
		return false, false
	}
	return r.disabled == 0, true
}
