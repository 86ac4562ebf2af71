// Command freeze takes boxd's place in the test of init: it becomes the real boxd, and has it stopped when told to on the console.
package main
