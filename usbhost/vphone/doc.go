// Package vphone makes phones of bytes: the cable and the port they hang on (Plug, Attachment, Wire), what they hold
// (Storage), and how they fail. A subpackage speaks each protocol: mtp. Nothing here knows the drivers that are tested
// against it, and it imports no testing: the demo and the virtual machine use the same phones as the tests.
//
// Time comes from package time, so a phone works inside a testing/synctest bubble when it is plugged in there.
package vphone
