// Command init is the first process of the box: it makes a usable system of what the kernel leaves, and keeps boxd running.
//
// It takes the place of gokrazy's init: that one feeds the watchdog whatever becomes of the firmware, mounts /perm unchecked,
// has a shell for whoever types on the serial console, and leaves a service that exits with 0 or 125 stopped (ADR 042).
package main
