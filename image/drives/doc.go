// Command drives is what the test machine of image/vm runs instead of an init: it mounts the disks that it finds, does what
// the kernel's command line asks for, says how it went on the console, and switches the machine off.
//
// It is Linux only, and started by this folder's test.
package main
