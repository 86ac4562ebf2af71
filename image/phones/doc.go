// Command phones is what the test machine of image/vm runs instead of an init, to try the box's USB ports and the whole
// program out on phones that QEMU plugs in. It does what it is told on the console, line by line, and says how it went: see
// commands. What is tested, and against which phones, is the business of this folder's tests.
//
// It is Linux only; a build with the tag libusb is what it is for.
package main
