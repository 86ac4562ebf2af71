//go:build !race

package mtp_test

const raceDetector = false
