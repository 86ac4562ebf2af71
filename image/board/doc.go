// Package board is the virtual board: QEMU's machine "virt" with the Raspberry Pi's kernel and the card's very image, USB drives
// and phones that come and go, and what a person would see of it. It holds tests only, a scenario each; -report
// writes down how they went.
package board
