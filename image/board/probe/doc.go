// Command probe looks at the box from within, for the tests of image/board: it takes boxd's place on the card, becomes boxd, and leaves
// a process behind that does what the console says. As process 1 it is the emptiest init there can be.
package main
