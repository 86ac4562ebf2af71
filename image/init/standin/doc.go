// Command standin takes boxd's place in the test of init: it lives several lives, each of which ends in another way.
package main
