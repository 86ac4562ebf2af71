//go:build !race

package mtp_test

const raceDetector, every = false, 1
