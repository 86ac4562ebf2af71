package drive

import (
	"strings"

	"github.com/moby/sys/mountinfo"
)

// mountPoints are where this system has drives: what is mounted from a device, and nothing of the network, which may hang.
func mountPoints() ([]string, error) {
	infos, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) {
		return !strings.HasPrefix(i.Source, "/dev/") && i.FSType != "zfs", false
	})
	var dirs []string
	for _, i := range infos {
		dirs = append(dirs, i.Mountpoint)
	}
	return dirs, err
}
