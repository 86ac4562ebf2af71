//go:build race

package main

// raceDetector tells that everything takes some five times what it does otherwise.
const raceDetector = true
