// Package firmware is what the box knows and what it does next. It touches no hardware, files or network.
//
// Facts go in as Events, one State comes out: State.Next is a pure function, so every rule about what may happen (when a
// backup starts, when the box may say "done", what a restore needs) can be tested without a phone or a drive. Box is the
// one loop around it: it owns the State, runs the Job that the State asks for and hands every new State to whoever
// listens (lights, console, pages).
package firmware
