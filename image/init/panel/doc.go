// Command panel takes boxd's place in a test of hal/rpi: it shows frames that are typed on the console, and tells edges of the button.
package main
