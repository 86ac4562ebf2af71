//go:build race

package mtp_test

// raceDetector tells that moving a byte costs some fifty times what it does otherwise.
const raceDetector = true
