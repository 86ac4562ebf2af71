//go:build race

package mtp_test

// raceDetector tells that moving a byte costs some fifty times what it does otherwise.
const raceDetector = true

// every says which of many cases of one kind are tried: each tenth here, since what races in one races in its neighbours.
const every = 10
