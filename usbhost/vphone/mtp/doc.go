// Package mtp simulates a phone that speaks MTP, byte by byte, as Android's own responder does. It is written from the
// specifications (PIMA 15740/PTP, "Media Transfer Protocol" 1.1, the USB still image class) and from what AOSP's
// responder is seen to do, and shares no code with the driver that is tested against it: what both got wrong alike, a
// test could not find.
//
// A Phone answers between Plug and Unplug. Its Quirks make it behave like other makers' phones, its fault methods make
// it fail when told, its Stats tell afterwards what it was asked.
package mtp
