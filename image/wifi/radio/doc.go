// Package radio tells the kernel, and the firmware of a board's radio, to join a network.
package radio
